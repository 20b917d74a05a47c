"""pgembed for SQLAlchemy 2: search, joins and links as selectables, embeddings as expressions.

::

    hits = search(Product, "rain gear for children", k=10, filter=Product.in_stock & (Product.price < 80))
    for product, distance in session.execute(select(hits.entity, hits.distance).order_by(hits.rank)):
        ...

Every call is one statement, whose text does not depend on any value, so SQLAlchemy's statement cache holds. Nothing here listens to
events or changes a class of SQLAlchemy's; it only tells its reflection what `BINVEC` is called. Vector columns are mapped with pgvector's
own ``pgvector.sqlalchemy.VECTOR``, whose schema has to be on the search_path where a vector is sent (a text needs nothing).
"""

from pgembed.sqlalchemy.functions import embed, embed_query
from pgembed.sqlalchemy.groups import Groups, classify, deduplicate, joinable_columns, topic_rows, topics
from pgembed.sqlalchemy.joins import EntityPairs, Pairs, semantic_join
from pgembed.sqlalchemy.links import EntityLinks, Links, link
from pgembed.sqlalchemy.search import EntityHits, Explanation, Hits, Keys, explain_search, search, search_keys, search_like
from pgembed.sqlalchemy.types import BINVEC

__all__ = [
    "search",
    "search_like",
    "search_keys",
    "explain_search",
    "semantic_join",
    "link",
    "classify",
    "topics",
    "topic_rows",
    "deduplicate",
    "joinable_columns",
    "embed",
    "embed_query",
    "Hits",
    "EntityHits",
    "Keys",
    "Explanation",
    "Pairs",
    "EntityPairs",
    "Links",
    "EntityLinks",
    "Groups",
    "BINVEC",
]
