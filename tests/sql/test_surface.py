"""The surface in the catalogs: comments, names that agree between SQL and Python, pinned paths, volatility, privileges."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.one_transaction

Connection = psycopg.Connection[Any]

# Members of the extension, as the catalogs have them.
MEMBERS = """
    SELECT p.oid::regprocedure::text AS called, p.*, l.lanname FROM pg_proc AS p JOIN pg_language AS l ON l.oid = p.prolang
    WHERE EXISTS (
        SELECT FROM pg_depend AS d JOIN pg_extension AS x ON x.oid = d.refobjid
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e' AND x.extname = 'pgembed'
    )
"""

# A filter, a condition or a source means there what it means to the caller, so no search_path is set. Whoever adds a name here says in
# the function's file why.
UNPINNED = {
    "_binvec_sized",  # inlined
    "_touch",  # once a row, and these two run no SQL
    "_take_touched",
    "_wake_after",  # all names are qualified, and it is called by every statement of a writer
    "_encode",  # once a row, and all names are qualified; the next two run no SQL
    "_encode_known",
    "_encode_with",
    "distance",  # inlined, where it takes values
    "_vector",  # these two have no name that a path could redirect
    "embed",
    "calibrate",  # as refresh
    "fill_code",  # as refresh
    "_explain_join",  # these evaluate the condition
    "_join_begin",
    "_join_next",
    "_join_table",
    "create_labels",
    "explain_join",
    "review_pairs",
    "semantic_join_into",
    "semantic_join_keys",
    "_no_row",  # finds a table as the caller does, to name it in a hint
    "_turned",  # names it so
    "_plan_search",
    "_tell_shortage",
    "_embed_stale",  # the filter is asked here too
    "_explain_search",
    "add_embedding",
    "adopt_embedding",
    "advise",
    "alter_embedding",
    "change_model",  # as refresh
    "check_query",
    "create_link_labels",  # as create_labels
    "_filter_links",
    "add_linker_target",
    "alter_linker",
    "create_linker",
    "drop_embedding",
    "drop_linker",
    "drop_linker_target",
    "explain_link",
    "link_keys",
    "explain_search",
    "link",
    "link_table",  # as refresh, and the filter
    "refresh",  # a procedure with a SET clause cannot commit
    "work",
    "_scan_codes",
    "scan_codes",
    "search",
    "_search",
    "search_keys",
    "_search_keys",
    "search_like",
    "semantic_join",
}

# SECURITY DEFINER is for these alone: each checks what it is given, or can only be called by our own code.
DEFINERS = {"_vector", "_flush_filter_log", "_write_registry", "_forget_dropped", "_codecs_moved", "embed"}
DEFINERS |= {"_linker_changed", "_load_linker_changes", "_load_linker_model"}
DEFINERS |= {"_start_worker", "_tell_worker", "_end_worker"}

# What the type binvec is made of.
BINVEC = {f"_binvec_{name}" for name in ("in", "out", "recv", "send", "typmod_in", "typmod_out", "refused", "sized")}


def test_every_object_has_a_comment(db: Connection) -> None:
    bare = db.execute(
        """
        SELECT pg_describe_object(d.classid, d.objid, 0)
        FROM pg_depend AS d JOIN pg_extension AS x ON x.oid = d.refobjid AND d.deptype = 'e'
        WHERE x.extname = 'pgembed' AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_event_trigger'::regclass)
          AND obj_description(d.objid, d.classid::regclass::text) IS NULL
        """
    ).fetchall()
    assert bare == []


def test_internal_objects_begin_with_an_underscore_and_say_so(db: Connection) -> None:
    odd = db.execute(
        f"""
        SELECT called FROM ({MEMBERS}) AS m
        WHERE (proname LIKE '\\_%') <> (obj_description(oid, 'pg_proc') LIKE 'internal: %')
        """
    ).fetchall()
    assert odd == []


def test_all_objects_are_in_the_extensions_schema(db: Connection) -> None:
    outside = db.execute(
        """
        SELECT (pg_identify_object(d.classid, d.objid, 0)).*
        FROM pg_depend AS d JOIN pg_extension AS x ON x.oid = d.refobjid AND d.deptype = 'e'
        WHERE x.extname = 'pgembed' AND (pg_identify_object(d.classid, d.objid, 0)).schema IS DISTINCT FROM 'pgembed'
          AND d.classid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass)
        """
    ).fetchall()
    assert outside == []


def python_functions(db: Connection) -> list[tuple[str, str, list[str]]]:
    """Name in SQL, body and names of the arguments of each PL/Python function."""
    return [
        (called, body, list(names or [])[:count])
        for called, body, names, count in db.execute(
            f"SELECT called, prosrc, proargnames, pronargs FROM ({MEMBERS}) AS m WHERE lanname = 'plpython3u' ORDER BY 1"
        ).fetchall()
    ]


# Python has a function called filter.
PYTHON_NAMES = {"filter": "condition"}

BODY = re.compile(r"from pgembed\.udf import (?P<module>\w+)\nreturn (?P=module)\.(?P<function>\w+)\((?P<arguments>[\w\s,]*)\)")


def test_python_bodies_are_an_import_and_a_call(db: Connection) -> None:
    functions = python_functions(db)
    assert functions
    assert [called for called, body, _ in functions if not BODY.fullmatch(body.strip())] == []


def test_names_and_order_of_arguments_agree_with_python(db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    class SPIError(Exception):
        pass

    # the rooms behind the bodies import plpy, which only a server has
    monkeypatch.setitem(
        sys.modules, "plpy", types.SimpleNamespace(Error=SPIError, SPIError=SPIError, spiexceptions=types.SimpleNamespace())
    )
    for called, body, names in python_functions(db):
        match = BODY.fullmatch(body.strip())
        assert match is not None, called
        function = getattr(importlib.import_module(f"pgembed.udf.{match['module']}"), match["function"])
        given = [argument.strip() for argument in match["arguments"].split(",") if argument.strip()]
        assert given == names, called
        assert list(inspect.signature(function).parameters) == [PYTHON_NAMES.get(name, name) for name in names], called
    for name in [name for name in sys.modules if name.startswith("pgembed.udf")]:
        del sys.modules[name]


def test_a_call_by_name_works_for_every_argument(db: Connection) -> None:
    unnamed = db.execute(
        f"SELECT called FROM ({MEMBERS}) AS m WHERE pronargs > 0 AND (proargnames IS NULL OR '' = ANY (proargnames[1:pronargs]))"
    ).fetchall()
    assert unnamed == []


def test_search_path_is_pinned_but_where_the_callers_expressions_are_evaluated(db: Connection) -> None:
    unpinned = db.execute(
        f"""
        SELECT DISTINCT proname::text FROM ({MEMBERS}) AS m
        WHERE prosqlbody IS NULL AND lanname <> 'internal'
          AND NOT EXISTS (SELECT FROM unnest(proconfig) AS c WHERE c = 'search_path=pg_catalog, pg_temp')
        """
    ).fetchall()
    assert {name for (name,) in unpinned} == UNPINNED


def test_only_known_functions_run_with_their_owners_rights(db: Connection) -> None:
    assert {row[0] for row in db.execute(f"SELECT proname::text FROM ({MEMBERS}) AS m WHERE prosecdef").fetchall()} == DEFINERS


def test_nothing_that_writes_is_granted_to_public(db: Connection) -> None:
    granted = db.execute(
        """
        SELECT c.oid::regclass::text, a.privilege_type
        FROM pg_class AS c CROSS JOIN LATERAL aclexplode(c.relacl) AS a
        WHERE c.relnamespace = 'pgembed'::regnamespace AND a.grantee = 0 AND a.privilege_type <> 'SELECT'
        """
    ).fetchall()
    assert granted == []
    assert db.execute("SELECT has_schema_privilege('public', 'pgembed', 'CREATE')").fetchone() == (False,)


def test_what_an_administrator_decides_is_not_granted_to_public(db: Connection) -> None:
    closed = db.execute(
        f"SELECT proname::text FROM ({MEMBERS}) AS m WHERE NOT has_function_privilege('public', oid, 'EXECUTE') ORDER BY 1"
    ).fetchall()
    models = ["drop_model", "grant_model", "register_model", "revoke_model", "set_default_model", "set_filter_log", "set_threads"]
    assert [row[0] for row in closed] == ["_vector_relabel", "_vector_sound", "_vectors_relabel", *models]


@pytest.mark.parametrize(
    ("volatility", "functions"),
    [
        (
            "i",
            {
                "_sent",
                "_encode",
                "_encode_known",
                "_encode_with",
                "_freshness",
                "_hash_after_change",
                "_hash_stale",
                "_planned",
                "_source_hash",
                "_vector",
                "_vector_refused",
                "_vector_relabel",
                "_vectors_relabel",
                "_vector_sound",
                "_vector_type",
                "by_hand",
                "freshness",
                "text_array",
                "truncated",
                "version",
            }
            | BINVEC,
        ),
        (
            "v",
            {
                "_plan_search",
                "_explain_search",
                "_write_registry",
                "_forget_dropped",
                "_after_drop",
                "_after_alter",
                "set_default_model",
                "set_threads",
                "create_labels",
                "semantic_join_into",
                *("create_linker", "add_linker_target", "alter_linker", "drop_linker_target", "drop_linker", "_linker_changed"),
                *("create_link_labels", "train_linker", "link_table", "correct_link"),
            }
            | {"_touch", "_take_touched", "_wake_after"}
            | {"add_embedding", "adopt_embedding", "alter_embedding", "drop_embedding", "refresh"}
            | {"register_model", "drop_model", "grant_model", "revoke_model"}
            | {"_claim_work", "_release_work", "_keep_claim", "_pause_column", "_embed_rows", "retry_failed", "work"}
            | {"_wake_workers", "_begin_sleep", "_end_sleep", "_start_worker", "_tell_worker", "_end_worker"}
            | {"set_filter_log", "_flush_filter_log", "advise"}
            | {"train_codec", "retrain_codec", "drop_codec", "recommend_codec", "check_codec", "_codecs_moved"}
            | {"check_query", "set_search_defaults", "reset_search_defaults"}
            | {"calibrate"}
            | {"wait_for", "_note_freshness"}
            | {"doctor", "repair", "_column_renamed", "_column_dropped", "_moved", "_names_follow"}
            | {"_before_drop_extension", "_work_follows", "_declare"}
            | {"add_code", "fill_code", "use_code", "drop_code", "_code_missed", "_code_attached"}
            | {"change_model", "switch_model", "rollback_model", "finish_model_change"}
            | {"compensate", "compensation_report", "fit_adapter", "drop_adapter"},
        ),
    ],
    ids=["immutable", "volatile"],
)
def test_volatility_is_what_it_must_be(db: Connection, volatility: str, functions: set[str]) -> None:
    found = db.execute(f"SELECT DISTINCT proname::text FROM ({MEMBERS}) AS m WHERE provolatile = %s", [volatility]).fetchall()
    assert {row[0] for row in found} == functions


def test_only_what_runs_no_sql_from_python_may_stand_in_a_parallel_plan(db: Connection) -> None:
    safe = db.execute(f"SELECT DISTINCT proname::text FROM ({MEMBERS}) AS m WHERE proparallel <> 'u'").fetchall()
    assert {row[0] for row in safe} == {
        *("_sent", "_freshness", "_hash_after_change", "_source_hash", "_vector", "_vector_refused", "_vector_relabel", "freshness"),
        *("_hash_stale", "by_hand", "truncated"),
        *("version", "_describe", "_vectors_relabel", "_vector_sound", "_vector_type"),
        *BINVEC,
        *("_constants", "_encode", "_encode_known", "_encode_with"),
        "_describe_codes",
        "_index_size",
        "_calibrated",
        "_index_definition",
        "_planned",
        "_relation_of",
        "text_array",
    }


def test_the_catalog_tables_are_dumped(db: Connection) -> None:
    dumped = db.execute(
        "SELECT c::regclass::text FROM pg_extension, unnest(extconfig) AS c WHERE extname = 'pgembed' ORDER BY 1"
    ).fetchall()
    tables = db.execute(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'pgembed'::regnamespace AND relkind = 'r' ORDER BY 1"
    )
    # who is at work, and on what, is of the moment
    moment = {"pgembed._claim", "pgembed._linker_change", "pgembed._pause", "pgembed._worker"}
    assert dumped == [row for row in tables.fetchall() if row[0] not in moment]


def test_version_is_the_extensions_version(db: Connection) -> None:
    assert db.execute("SELECT pgembed.version() = extversion FROM pg_extension WHERE extname = 'pgembed'").fetchone() == (True,)
