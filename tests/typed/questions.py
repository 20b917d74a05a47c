"""questions: searches, joins, links and groups, and what a type checker knows of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, assert_type

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, undefer

from pgembed.sqlalchemy import (
    Advice,
    Chunks,
    Classified,
    CodecCheck,
    CodecChoices,
    CodeHits,
    Compensation,
    Duplicates,
    EntityHits,
    EntityLinks,
    EntityPairs,
    Explanation,
    Findings,
    Groups,
    Hits,
    Hubs,
    JoinableColumns,
    JoinExplanation,
    KeyLinks,
    KeyPairs,
    Keys,
    LinkCandidates,
    LinkCorrections,
    LinkerMeasures,
    Links,
    MaskedQuery,
    Pairs,
    PairsToReview,
    Provenance,
    QueryFindings,
    Rows,
    Semantic,
    TopicRows,
    Topics,
    advise,
    by_hand,
    check_codec,
    check_query,
    chunk,
    classify,
    compensation_report,
    deduplicate,
    distance,
    doctor,
    embed,
    embed_query,
    evaluate_linker,
    explain_join,
    explain_link,
    explain_search,
    freshness,
    hubness,
    joinable_columns,
    link,
    link_corrections,
    link_keys,
    masked_query,
    provenance,
    recommend_codec,
    review_pairs,
    scan_codes,
    search,
    search_keys,
    search_like,
    semantic,
    semantic_join,
    semantic_join_keys,
    text_array,
    token_count,
    topic_rows,
    topics,
    truncated,
    version,
    views,
)
from typed.models import Article, Company, Product, offer


def searches(session: Session) -> None:
    hits = search(Product, "rain gear", k=5, filter=(Product.price < Decimal(80)) & Product.in_stock, recall=0.95)
    assert_type(hits, EntityHits[Product])
    assert_type(hits.entity, type[Product])
    assert_type(hits.distance, ColumnElement[float])
    assert_type(hits.rank, ColumnElement[int])
    assert_type(hits.chunk, ColumnElement[str | None])
    assert_type(hits.start_char, ColumnElement[int | None])
    assert_type(hits.end_char, ColumnElement[int | None])
    for product, away in session.execute(select(hits.entity, hits.distance).order_by(hits.rank)):
        assert_type(product, Product)
        assert_type(away, float)
    assert_type(session.scalars(select(hits.entity).options(undefer(hits.entity.embedding))).all(), Sequence[Product])
    assert_type(session.scalars(select(hits.entity.name)).first(), str | None)
    assert_type(session.scalars(select(hits.entity).join(hits.entity.company)).first(), Product | None)
    assert_type(search_like(Product, 1, exact=True).entity, type[Product])
    assert_type(search_like(offer, 1), Hits)
    assert_type(search(offer, [1.0, 2.0], column_name="e", consistency="fresh", max_distance=0.5), Hits)
    keys = search_keys(Product, "rain gear")
    assert_type(keys, Keys)
    assert_type(keys.key, ColumnElement[str])
    assert_type(explain_search(Product, "rain gear", execute=False), Explanation)


async def asynchronously(session: AsyncSession) -> None:
    hits = search(Product, "rain gear")
    for product, away in await session.execute(select(hits.entity, hits.distance)):
        assert_type(product, Product)
        assert_type(away, float)


def comparisons(session: Session) -> None:
    meaning = semantic(Product.embedding, metric="cosine")
    assert_type(meaning, Semantic)
    assert_type(meaning.nearest("rain gear", k=3), ColumnElement[bool])
    assert_type(meaning.distance("rain gear"), ColumnElement[float])
    near = select(Product).where(meaning.nearest("rain gear")).order_by(meaning.distance("rain gear")).limit(3)
    assert_type(session.scalars(near).first(), Product | None)


def joins(session: Session) -> None:
    pairs = semantic_join(Product, Company, "embedding", "name_vector", k=1, condition=Product.company_id == Company.id)
    assert_type(pairs, EntityPairs[Product, Company])
    assert_type(pairs.left, type[Product])
    assert_type(pairs.right, type[Company])
    assert_type(pairs.is_match, ColumnElement[bool])
    assert_type(pairs.probability, ColumnElement[float])
    assert_type(pairs.evidence, ColumnElement[list[str]])
    for product, company, away, place in session.execute(select(pairs.left, pairs.right, pairs.distance, pairs.rank)):
        assert_type(product, Product)
        assert_type(company, Company)
        assert_type(away, float)
        assert_type(place, int)
    itself = semantic_join(Product, Product, not_equal=True)
    assert_type(itself.left, type[Product])
    assert_type(itself.right, type[Product])
    assert_type(semantic_join(Product.embedding, Company.name_vector), EntityPairs[Any, Any])
    assert_type(semantic_join(offer, offer.c.title), Pairs)
    assert_type(semantic_join(offer, Product), Pairs)
    assert_type(semantic_join(Product, offer), Pairs)
    keys = semantic_join_keys(Product.embedding, Company.name_vector)
    assert_type(keys, KeyPairs)
    assert_type(keys.left_key, ColumnElement[str])
    assert_type(explain_join(Product, Company).value, ColumnElement[str])
    assert_type(explain_join(Product, Company), JoinExplanation)
    assert_type(review_pairs(Product, Company, n=3), PairsToReview)
    assert_type(hubness(Product, method="qb_norm"), Hubs)


def links(session: Session) -> None:
    found = link(Company, "Contoso sues Fabrikam.", "companies", spans=[(1, 8)], precision=0.9)
    assert_type(found, EntityLinks[Company])
    assert_type(found.entity, type[Company])
    assert_type(found.start_char, ColumnElement[int])
    assert_type(found.end_char, ColumnElement[int])
    assert_type(found.score, ColumnElement[float])
    assert_type(found.margin, ColumnElement[float])
    assert_type(found.mention_type, ColumnElement[str])
    for mention, company, decision in session.execute(select(found.mention, found.entity, found.decision)):
        assert_type(mention, str)
        assert_type(company, Company)
        assert_type(decision, str)
    assert_type(link(offer, "A tent."), Links)
    assert_type(link_keys("companies", "Contoso"), KeyLinks)
    assert_type(explain_link("companies", "Contoso", k=2), LinkCandidates)
    assert_type(explain_link("companies", "Contoso").entity_name, ColumnElement[str])
    assert_type(link_corrections("article_link"), LinkCorrections)
    assert_type(evaluate_linker("companies", "gold"), LinkerMeasures)
    assert_type(evaluate_linker("companies", "gold").f1, ColumnElement[float])
    about = select(Article).where(Article.companies.any(Company.name == "Contoso"))
    assert_type(session.scalars(about).first(), Article | None)


def groups(session: Session) -> None:
    labels = classify(Product, {"rain": ["rain gear", "umbrellas"], "light": "lamps"})
    assert_type(labels, Classified)
    for key, label, is_confident in session.execute(select(labels.key, labels.label, labels.is_confident)):
        assert_type(key, str)
        assert_type(label, str)
        assert_type(is_confident, bool)
    assert_type(session.scalars(select(labels.c.key)).one(), Any)
    assert_type(topics(Product, n=3).size, ColumnElement[int])
    assert_type(topics(Product, words_from=[Product.name]), Topics)
    assert_type(topic_rows(Product).topic, ColumnElement[int])
    assert_type(topic_rows(Product), TopicRows)
    assert_type(deduplicate(Product, within=[Product.company_id], precision=0.9), Duplicates)
    assert_type(joinable_columns(Product, k=3).containment, ColumnElement[float])
    assert_type(joinable_columns(Product), JoinableColumns)
    several: list[Groups] = [labels, topics(Product)]
    rows: list[Rows] = [*several]
    assert rows


def expressions(session: Session) -> None:
    assert_type(session.scalars(select(token_count("a tent"))).one(), int)
    assert_type(session.scalars(select(version())).one(), str)
    assert_type(embed("a tent", model="tiny", role="document"), ColumnElement[Any])
    assert_type(embed(Product.name), ColumnElement[Any])
    assert_type(embed_query(Product.embedding, "a tent"), ColumnElement[Any])
    assert_type(chunk("a long text", max_tokens=20).content, ColumnElement[str])
    assert_type(chunk(Article.body), Chunks)
    assert_type(distance(Product, 1, Product, 2), ColumnElement[float])
    assert_type(distance(Product.bits, Product.bits, "product_sign"), ColumnElement[float])
    assert_type(text_array(["a"]), ColumnElement[list[str]])
    digest = views.embeddings.c.hash_column
    assert_type(freshness(Product.embedding, digest), ColumnElement[str])
    assert_type(freshness(hash=digest), ColumnElement[str])
    assert_type(truncated(digest), ColumnElement[bool])
    assert_type(by_hand(b"\x00"), ColumnElement[bool])


def codes(session: Session) -> None:
    assert_type(scan_codes(Product, "rain gear", filter=Product.in_stock, rescore=0).distance, ColumnElement[float])
    assert_type(scan_codes(Product, [0.5, 0.5]), CodeHits)
    assert_type(masked_query("product_sign", "rain gear"), MaskedQuery)
    assert_type(recommend_codec(Product, min_recall=0.9).is_recommended, ColumnElement[bool])
    assert_type(recommend_codec(Product), CodecChoices)
    assert_type(check_codec("product_sign"), CodecCheck)
    assert_type(check_codec("product_sign").needs_retraining, ColumnElement[bool])


def looking(session: Session) -> None:
    for severity, remedy in session.execute(select(doctor().severity, doctor().remedy)):
        assert_type(severity, str)
        assert_type(remedy, str)
    assert_type(doctor(), Findings)
    assert_type(advise(Product, filters=["price < 80"]), Advice)
    assert_type(check_query("SELECT 1", params=["a"]), QueryFindings)
    assert_type(provenance(Product), Provenance)
    assert_type(provenance(Product).by_hand, ColumnElement[bool])
    assert_type(compensation_report(Product, "other").cosine, ColumnElement[float])
    assert_type(compensation_report(Product, "other"), Compensation)
    stale = select(views.embeddings.c.column_name).where(views.embeddings.c.stale > 0)
    assert_type(session.scalars(stale).one(), Any)
    for view in (views.adapters, views.calibrations, views.codecs, views.codes, views.failures, views.filters_used, views.link_tables):
        assert_type(view.name, str)
    for view in (
        views.freshness_log,
        views.linkers,
        views.model_changes,
        views.models,
        views.progress,
        views.work_in_progress,
        views.workers,
    ):
        assert_type(view.schema, str | None)
