"""views: the views of the schema pgembed as Tables, to select from: what is declared, how fresh it is, what runs and what failed.

::

    session.execute(select(views.embeddings.c.column_name, views.embeddings.c.stale).where(views.embeddings.c.stale > 0))

They are in a MetaData of their own, which nobody should create from, and say ``info["pgembed"] == "owned"``. Tables come as their names;
to find one, compare with its name: ``views.embeddings.c.table_name == "product"``.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ARRAY, BigInteger, Boolean, Column, DateTime, Double, Integer, Interval, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, REGCLASS

__all__ = [
    "adapters",
    "calibrations",
    "codecs",
    "codes",
    "embeddings",
    "failures",
    "filters_used",
    "freshness_log",
    "link_tables",
    "linkers",
    "model_changes",
    "models",
    "progress",
    "work_in_progress",
    "workers",
]

metadata = MetaData(schema="pgembed", info={"pgembed": "owned"})
_MOMENT = DateTime(timezone=True)


def _view(name: str, *columns: Column[Any]) -> Table:
    return Table(name, metadata, *columns, info={"pgembed": "owned", "is_view": True})


adapters = _view(
    "adapters",
    Column("table_name", REGCLASS),
    Column("column_name", Text),
    Column("kind", Text),
    Column("method", Text),
    Column("in_force", Boolean),
    Column("model", Text),
    Column("column_model", Text),
    Column("query_dim", Integer),
    Column("dim", Integer),
    Column("rank", Integer),
    Column("made_at", _MOMENT),
    Column("measured", JSONB),
    Column("adapter", Text),
    Column("fingerprint", Text),
)
"""A line per embedded column whose queries go through a map: of which models, and what was measured of it."""

calibrations = _view(
    "calibrations",
    Column("table_name", REGCLASS),
    Column("column_name", Text),
    Column("path", Text),
    Column("k", Integer),
    Column("share", Double),
    Column("recall", Double),
    Column("milliseconds", Double),
    Column("ef_search", Integer),
    Column("candidates", Integer),
    Column("codec", Text),
    Column("filter", Text),
    Column("recall_low", Double),
    Column("queries", Integer),
    Column("rows", BigInteger),
    Column("measured_at", _MOMENT),
    Column("is_stale", Boolean),
    Column("stale_because", Text),
)
"""A line per path and setting that `calibrate` measured: the share of the true k nearest found, and milliseconds."""

codecs = _view(
    "codecs",
    Column("name", Text),
    Column("table_name", REGCLASS),
    Column("column_name", Text),
    Column("method", Text),
    Column("bytes", Integer),
    Column("recall_100", Double),
    Column("needs_retraining", Boolean),
    Column("trained_at", _MOMENT),
    Column("retrain_reason", Text),
    Column("options", JSONB),
    Column("kind", Text),
    Column("length", Integer),
    Column("code_type", Text),
    Column("sample_rows", BigInteger),
    Column("table_rows", BigInteger),
    Column("recall", Double),
    Column("recall_20", Double),
    Column("recall_50", Double),
    Column("recall_200", Double),
    Column("rescore_99", Integer),
    Column("asymmetric_recall", Double),
    Column("asymmetric_recall_20", Double),
    Column("asymmetric_recall_50", Double),
    Column("asymmetric_recall_100", Double),
    Column("asymmetric_recall_200", Double),
    Column("asymmetric_rescore_99", Integer),
    Column("queries_drawn", Text),
    Column("queries", Integer),
    Column("distortion", Double),
    Column("encode_rate", Double),
    Column("checked_at", _MOMENT),
    Column("recall_100_now", Double),
    Column("rows_now", BigInteger),
    Column("masked_recall", Double),
    Column("masked_recall_20", Double),
    Column("masked_recall_50", Double),
    Column("masked_recall_100", Double),
    Column("masked_recall_200", Double),
    Column("masked_rescore_99", Integer),
)
"""A line per trained codec: what it is, its recalls (from 0 to 1) among so many candidates, and when to train it anew."""

codes = _view(
    "codes",
    Column("table_name", REGCLASS),
    Column("column_name", Text),
    Column("embedding_column", Text),
    Column("codec", Text),
    Column("is_active", Boolean),
    Column("is_filled", Boolean),
    Column("rows", BigInteger),
    Column("pending", BigInteger),
    Column("code_type", Text),
    Column("is_generated", Boolean),
    Column("index_name", Text),
    Column("index_bytes", BigInteger),
    Column("covering_index", Text),
    Column("covering_bytes", BigInteger),
)
"""A line per column of codes: what it is made of, whether searches use it, what is missing in it, and its indexes."""

embeddings = _view(
    "embeddings",
    Column("table_name", REGCLASS),
    Column("column_name", Text),
    Column("model", Text),
    Column("rows", BigInteger),
    Column("fresh", BigInteger),
    Column("stale", BigInteger),
    Column("pending", BigInteger),
    Column("failed", BigInteger),
    Column("null_source", BigInteger),
    Column("source", Text),
    Column("last_error", Text),
    Column("metric", Text),
    Column("sync", Text),
    Column("adopted", Boolean),
    Column("hash_column", Text),
    Column("fingerprint", Text),
    Column("truncated", BigInteger),
    Column("chunk_table", REGCLASS),
    Column("chunk_tokens", Integer),
    Column("chunk_overlap", Integer),
    Column("chunks", BigInteger),
    Column("by_hand", BigInteger),
    Column("role", Text),
    Column("change_of", Text),
)
"""A line per embedded column: what it is made of and how fresh its rows are; counts are NULL where the reader may not see all rows."""

failures = _view(
    "failures",
    Column("table_name", REGCLASS),
    Column("column_name", Text),
    Column("key", Text),
    Column("attempts", Integer),
    Column("sqlstate", Text),
    Column("next_try", _MOMENT),
    Column("error", Text),
    Column("failed_at", _MOMENT),
)
"""Rows of your tables that could not be embedded and why; without a key a whole column. ``next_try`` NULL: not before `retry_failed`."""

filters_used = _view(
    "filters_used",
    Column("target", REGCLASS),
    Column("column_name", Text),
    Column("searches", BigInteger),
    Column("rows", Double),
    Column("share", Double),
    Column("ms", Double),
    Column("shape", Text),
    Column("columns", ARRAY(Text)),
    Column("first_used", _MOMENT),
    Column("last_used", _MOMENT),
    Column("terms", JSONB),
)
"""A line per shape of filter that searches used while `set_filter_log` was on; ``rows`` that passed on average, ``ms`` a search."""

freshness_log = _view(
    "freshness_log",
    Column("table_name", REGCLASS),
    Column("column_name", Text),
    Column("at", _MOMENT),
    Column("rows", BigInteger),
    Column("fresh", BigInteger),
    Column("stale", BigInteger),
    Column("pending", BigInteger),
    Column("failed", BigInteger),
    Column("null_source", BigInteger),
)
"""Rows of an embedded column by state, and when they were counted: of the last 30 days, for those who could count them."""

link_tables = _view(
    "link_tables",
    Column("destination", REGCLASS),
    Column("linker", Text),
    Column("source", REGCLASS),
    Column("text_column", Text),
    Column("entities", REGCLASS),
    Column("corrections", REGCLASS),
    Column("texts", REGCLASS),
)
"""A line per table that `link_table` keeps: its texts, its linker, its corrections, and the view of what holds."""

linkers = _view(
    "linkers",
    Column("name", Text),
    Column("status", Text),
    Column("targets", ARRAY(REGCLASS)),
    Column("rows", Double),
    Column("labels", Integer),
    Column("revision", Integer),
    Column("names", ARRAY(Text)),
    Column("trained_at", _MOMENT),
    Column("key", ARRAY(Text)),
    Column("aliases", ARRAY(Text)),
    Column("types", ARRAY(Text)),
    Column("context", ARRAY(Text)),
    Column("relations", ARRAY(Text)),
)
"""A line per linker; arrays have an element for each target, ``status`` is ``ready`` or says what is needed."""

model_changes = _view(
    "model_changes",
    Column("table_name", REGCLASS),
    Column("column_name", Text),
    Column("state", Text),
    Column("done", BigInteger),
    Column("rows", BigInteger),
    Column("old_model", Text),
    Column("new_model", Text),
    Column("failed", BigInteger),
    Column("rate", Double),
    Column("eta", Interval),
    Column("new_column", Text),
    Column("started_at", _MOMENT),
    Column("switched_at", _MOMENT),
    Column("last_error", Text),
    Column("overlap", Double),
    Column("cka", Double),
    Column("old_recall", Double),
    Column("new_recall", Double),
    Column("moved", JSONB),
    Column("depends", JSONB),
    Column("report", JSONB),
)
"""A line per change of a column's model: how far it is, and how the new vectors compare with the old ones."""

models = _view(
    "models",
    Column("name", Text),
    Column("kind", Text),
    Column("dim", Integer),
    Column("revision", Integer),
    Column("is_default", Boolean),
    Column("columns", BigInteger),
    Column("max_tokens", Integer),
    Column("weights", Text),
    Column("source", Text),
    Column("problem", Text),
    Column("normalized", Boolean),
    Column("layers", Integer),
    Column("query_prompt", Text),
    Column("document_prompt", Text),
    Column("basis", Text),
    Column("in_backends", Boolean),
    Column("fingerprint", Text),
)
"""A line per model that is registered or installed, and per older revision that columns still use."""

progress = _view(
    "progress",
    Column("pid", Integer),
    Column("what", Text),
    Column("target", Text),
    Column("done", BigInteger),
    Column("total", BigInteger),
    Column("eta", _MOMENT),
    Column("role", Text),
    Column("started_at", _MOMENT),
)
"""A line per long call of pgembed that runs in this database: who, what, how much of how much, and when it may end."""

work_in_progress = _view(
    "work_in_progress",
    Column("table_name", REGCLASS),
    Column("column_name", Text),
    Column("rows", Integer),
    Column("worker", Text),
    Column("is_live", Boolean),
    Column("attempts", Integer),
    Column("pid", Integer),
    Column("claim", BigInteger),
    Column("claimed_at", _MOMENT),
    Column("expires_at", _MOMENT),
)
"""A line per batch of rows of your tables that is being embedded."""

workers = _view(
    "workers",
    Column("name", Text),
    Column("state", Text),
    Column("rows_done", BigInteger),
    Column("rows_failed", BigInteger),
    Column("pid", Integer),
    Column("host", Text),
    Column("doing", Text),
    Column("problem", Text),
    Column("started_at", _MOMENT),
    Column("seen_at", _MOMENT),
)
"""A line per process ``pgembed worker``; ``state`` is working, waiting, asleep or gone."""
