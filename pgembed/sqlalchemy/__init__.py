"""pgembed for SQLAlchemy 2: search, joins and links as selectables, embeddings as expressions, every function of pgembed by its name.

::

    hits = search(Product, "rain gear for children", k=10, filter=Product.in_stock & (Product.price < 80))
    for product, distance in session.execute(select(hits.entity, hits.distance).order_by(hits.rank)):
        ...

Every call is one statement, whose text does not depend on any value, so SQLAlchemy's statement cache holds. Importing this listens to no
event and changes no class of SQLAlchemy's; it only tells its reflection what types are called. A table that declares an embedded column is
listened to, and no other. Vector columns are mapped with pgvector's own ``pgvector.sqlalchemy.VECTOR``, whose schema has to be on the
search_path where a vector is sent (a text needs nothing).

What arguments mean wherever nothing else is said:

- ``target``: a mapped class or a Table; or an attribute such as ``Product.embedding``, which says ``column_name`` too.
- ``column_name``: the embedded column, an attribute or its name; None where the table has one.
- ``queries``, ``queries_column``: a table and its column with texts, or vectors, as people ask them; ``queries`` may be the column itself.
- ``seed``: the same one on the same rows gives the same result.
- ``batch_size``: rows in a transaction; None for as many as suit.

Distances are in the column's metric, shares and probabilities from 0 to 1, offsets in characters from 1 with the end exclusive, keys text
(a composite one a JSON array). What the server refuses is a ``sqlalchemy.exc.DBAPIError`` with its SQLSTATE, DETAIL and HINT in ``.orig``.
"""

from pgembed.sqlalchemy.codes import (
    CodecCheck,
    CodecChoices,
    CodeHits,
    MaskedQuery,
    add_code,
    check_codec,
    code_indexes,
    drop_code,
    drop_codec,
    fill_code,
    masked_query,
    recommend_codec,
    retrain_codec,
    scan_codes,
    train_codec,
    use_code,
)
from pgembed.sqlalchemy.creating import Linker, complete
from pgembed.sqlalchemy.declarations import Code, embeddings_of, linkers_of
from pgembed.sqlalchemy.declaring import add_embedding, adopt_embedding, alter_embedding, drop_embedding
from pgembed.sqlalchemy.embedded import embedded, embedded_column
from pgembed.sqlalchemy.functions import Chunks, chunk, distance, embed, embed_query, text_array, token_count
from pgembed.sqlalchemy.groups import (
    Classified,
    Duplicates,
    Groups,
    JoinableColumns,
    TopicRows,
    Topics,
    classify,
    deduplicate,
    joinable_columns,
    topic_rows,
    topics,
)
from pgembed.sqlalchemy.joins import (
    Hubs,
    JoinExplanation,
    KeyPairs,
    PairsToReview,
    create_labels,
    explain_join,
    hubness,
    review_pairs,
    semantic_join,
    semantic_join_into,
    semantic_join_keys,
)
from pgembed.sqlalchemy.linkers import (
    LinkCorrections,
    LinkerMeasures,
    add_linker_target,
    alter_linker,
    correct_link,
    create_link_labels,
    create_linker,
    drop_linker,
    drop_linker_target,
    evaluate_linker,
    link_corrections,
    link_table,
    train_linker,
)
from pgembed.sqlalchemy.links import EntityLinks, KeyLinks, LinkCandidates, Links, explain_link, link, link_keys
from pgembed.sqlalchemy.looking import (
    Advice,
    Findings,
    QueryFindings,
    Settings,
    SettingsBack,
    advise,
    calibrate,
    check_query,
    doctor,
    reset_search_defaults,
    set_filter_log,
    set_search_defaults,
    version,
)
from pgembed.sqlalchemy.models import (
    Statements,
    change_model,
    drop_model,
    finish_model_change,
    grant_model,
    model_change_indexes,
    register_model,
    revoke_model,
    rollback_model,
    set_default_model,
    set_threads,
    switch_model,
)
from pgembed.sqlalchemy.pairs import EntityPairs, Pairs
from pgembed.sqlalchemy.relations import LinkRow, link_rows, linked
from pgembed.sqlalchemy.search import EntityHits, Explanation, Hits, Keys, explain_search, search, search_keys, search_like
from pgembed.sqlalchemy.semantic import Semantic, semantic
from pgembed.sqlalchemy.spaces import (
    AdapterMeasures,
    Compensation,
    compensate,
    compensation_report,
    drop_adapter,
    fit_adapter,
)
from pgembed.sqlalchemy.typed import VOID, Procedure, Rows
from pgembed.sqlalchemy.types import BINVEC, CODE, reflect_codes
from pgembed.sqlalchemy.working import (
    Provenance,
    Repairs,
    by_hand,
    freshness,
    provenance,
    refresh,
    repair,
    retry_failed,
    truncated,
    wait_for,
    work,
)

__all__ = [
    # what models declare, and compare by
    "embedded",
    "embedded_column",
    "Code",
    "Linker",
    "complete",
    "embeddings_of",
    "linkers_of",
    "semantic",
    "Semantic",
    # what is in SQL, by its name there
    "add_code",
    "check_codec",
    "code_indexes",
    "drop_code",
    "drop_codec",
    "fill_code",
    "masked_query",
    "recommend_codec",
    "retrain_codec",
    "scan_codes",
    "train_codec",
    "use_code",
    "add_embedding",
    "adopt_embedding",
    "alter_embedding",
    "drop_embedding",
    "chunk",
    "distance",
    "embed",
    "embed_query",
    "text_array",
    "token_count",
    "classify",
    "deduplicate",
    "joinable_columns",
    "topic_rows",
    "topics",
    "create_labels",
    "explain_join",
    "hubness",
    "review_pairs",
    "semantic_join",
    "semantic_join_into",
    "semantic_join_keys",
    "add_linker_target",
    "alter_linker",
    "correct_link",
    "create_link_labels",
    "create_linker",
    "drop_linker",
    "drop_linker_target",
    "evaluate_linker",
    "link_corrections",
    "link_table",
    "train_linker",
    "explain_link",
    "link",
    "link_keys",
    "advise",
    "calibrate",
    "check_query",
    "doctor",
    "reset_search_defaults",
    "set_filter_log",
    "set_search_defaults",
    "version",
    "change_model",
    "drop_model",
    "finish_model_change",
    "grant_model",
    "model_change_indexes",
    "register_model",
    "revoke_model",
    "rollback_model",
    "set_default_model",
    "set_threads",
    "switch_model",
    "explain_search",
    "search",
    "search_keys",
    "search_like",
    "compensate",
    "compensation_report",
    "drop_adapter",
    "fit_adapter",
    "by_hand",
    "freshness",
    "provenance",
    "refresh",
    "repair",
    "retry_failed",
    "truncated",
    "wait_for",
    "work",
    # links as relationships
    "linked",
    "link_rows",
    "LinkRow",
    # types, and what the calls return
    "CodecCheck",
    "CodecChoices",
    "CodeHits",
    "MaskedQuery",
    "Chunks",
    "Classified",
    "Duplicates",
    "Groups",
    "JoinableColumns",
    "TopicRows",
    "Topics",
    "EntityPairs",
    "Hubs",
    "JoinExplanation",
    "KeyPairs",
    "Pairs",
    "PairsToReview",
    "LinkCorrections",
    "LinkerMeasures",
    "EntityLinks",
    "KeyLinks",
    "LinkCandidates",
    "Links",
    "Advice",
    "Findings",
    "QueryFindings",
    "Settings",
    "SettingsBack",
    "Statements",
    "EntityHits",
    "Explanation",
    "Hits",
    "Keys",
    "AdapterMeasures",
    "Compensation",
    "VOID",
    "Procedure",
    "Rows",
    "BINVEC",
    "CODE",
    "reflect_codes",
    "Provenance",
    "Repairs",
]
