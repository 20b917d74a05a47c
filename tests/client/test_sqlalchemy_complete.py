"""Every function, procedure and view of pgembed has its counterpart in pgembed.sqlalchemy, with the same arguments and columns."""

from __future__ import annotations

import datetime
import decimal
import inspect
import json
import re
import typing
from typing import Any

import psycopg
import pytest
from mapped import Maker, Thing
from sqlalchemy import ARRAY, Table, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB, asyncpg
from sqlalchemy.schema import CreateTable

import pgembed.sqlalchemy as ours
from pgembed.sqlalchemy import typed, views
from pgembed.sqlalchemy.typed import Kind, Rows

pytestmark = pytest.mark.one_transaction

# Arguments that are called otherwise in Python, or are not there, and why.
RENAMED = {"of": "target"}  # in SQL a row of the table is given, as NULL::product
TRAVELS = {"params"}  # the values of the filter or condition, which travel by themselves
# Columns that carry a row: in Python they are the table's own columns and an entity.
OF_ROWS = {"item", "left_row", "right_row", "entity", "runner_up"}
BY_PROPERTY = {"search": "Hits", "search_like": "Hits", "search_keys": "Keys", "semantic_join": "Pairs", "link": "Links"}
# Overloads of SQL that are one function in Python: the first of each is the one whose arguments it has; the others are its typed overloads.
OVERLOADED = {"distance", "freshness"}
# Modules that have counterparts, and nothing else that is called like a function.
OF_CALLS = {"codes", "declaring", "functions", "groups", "joins", "linkers", "links", "looking", "models", "search", "spaces", "working"}
SETS_OF_TEXT = {"code_indexes", "model_change_indexes"}  # without a name in SQL
SQL_TYPES = {"TIMESTAMP WITH TIME ZONE": "timestamp with time zone", "FLOAT": "double precision", "BIT(1)": "bit"}


# help() writes for a terminal, and Python has one of its own.
def functions_of(db: psycopg.Connection[Any]) -> list[Any]:
    return db.execute(
        "SELECT p.proname AS name, p.prokind, p.proretset, p.proargnames, p.proargmodes::text[],"
        " (SELECT array_agg(format_type(t.oid, NULL) ORDER BY t.place)"
        "  FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY AS t (oid, place)),"
        " (SELECT array_agg(pg_get_function_arg_default(p.oid, i) ORDER BY i) FROM generate_series(1, p.pronargs) AS i),"
        " format_type(p.prorettype, NULL)"
        " FROM pg_proc AS p WHERE p.pronamespace = 'pgembed'::regnamespace AND p.proname !~ '^_|^help$'"
        # forms that only tell how to write it
        " AND obj_description(p.oid, 'pg_proc') NOT LIKE 'refused, %' ORDER BY p.proname, p.oid"
    ).fetchall()


def default_of(db: psycopg.Connection[Any], written: str | None) -> Any:
    if written is None:
        return inspect.Parameter.empty
    (value,) = db.execute(f"SELECT {written}").fetchone() or (None,)
    if isinstance(value, decimal.Decimal):
        return float(value)
    return () if value == [] else value


def signatures(name: str) -> list[inspect.Signature]:
    function = getattr(ours, name)
    if name in OVERLOADED:
        return [inspect.signature(one) for one in typing.get_overloads(function)]
    return [inspect.signature(function)]


def test_every_function_has_a_counterpart_with_its_arguments_and_defaults(db: psycopg.Connection[Any]) -> None:
    found = functions_of(db)
    assert len(found) > 90
    for name, _, _, argument_names, modes, _, defaults, _ in found:
        assert name in ours.__all__, f"pgembed.{name} has no counterpart"
        inputs = [one for one, mode in zip(argument_names or [], modes or ["i"] * len(argument_names or []), strict=True) if mode in "ib"]
        wanted = {
            RENAMED.get(one, one): default_of(db, default)
            for one, default in zip(inputs, defaults or [], strict=True)
            if not (one in TRAVELS and {"filter", "condition"} & {*inputs})
        }
        given = [{one.name: one.default for one in signature.parameters.values()} for signature in signatures(name)]
        if name == "embed" and wanted["role"] == "document":
            wanted["role"] = "query"  # of arrays, which are told by their type; left out in SQL, so the default of each holds
        assert wanted in given, f"pgembed.{name} has {wanted}, its counterpart {given}"
        if name not in OVERLOADED and name not in BY_PROPERTY and name != "explain_search":
            assert list(given[0]) == list(wanted), f"the arguments of {name} are in another order"


def test_no_counterpart_is_of_nothing(db: psycopg.Connection[Any]) -> None:
    known = {name for name, *_ in functions_of(db)}
    offered = {name for name in ours.__all__ if getattr(ours, name).__module__.rpartition(".")[2] in OF_CALLS and name.islower()}
    assert offered == known


def test_the_columns_of_what_returns_rows_are_the_database_s(db: psycopg.Connection[Any]) -> None:
    seen = set()
    for name, kind, is_set, argument_names, modes, kinds, _, returned in functions_of(db):
        out = [(one, type_) for one, mode, type_ in zip(argument_names or [], modes or [], kinds or [], strict=False) if mode in "tob"]
        made = typing.get_type_hints(getattr(ours, name))["return"] if name not in BY_PROPERTY else None
        if kind == "p":
            assert made is ours.Procedure, name
        elif name in SETS_OF_TEXT:
            assert list(made.out()) == ["statement"]
        elif name in BY_PROPERTY:
            properties = getattr(ours, BY_PROPERTY[name])
            assert all(isinstance(vars(properties)[one], property) for one, _ in out if one not in OF_ROWS)
        elif name == "explain_search":
            assert [one for one, _ in out] == ["property", "value"]
        elif out:
            assert [(one, sql_type(each)) for one, each in made.out().items()] == [(one, plain(each)) for one, each in out], name
            assert issubclass(made, Rows)
        else:
            assert not is_set
            expression = returned
            assert expression in ("void", "text", "boolean", "double precision", "bigint", "integer", "regclass", "regproc", "text[]") or (
                name in ("embed", "embed_query")
            )
        seen.add(name)
    assert len(seen) > 80


def plain(kind: str) -> str:
    return {"name": "text", "name[]": "text[]"}.get(kind, kind)


def sql_type(kind: Any) -> str:
    made = kind() if isinstance(kind, type) else kind
    if isinstance(made, ARRAY):
        return sql_type(made.item_type) + "[]"
    text = str(made.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    return SQL_TYPES.get(text, text.lower())


SENT_BY_PLACE = ("target", "left", "right")


def sample(name: str, kind: Kind, default: Any) -> Any:
    """An argument that is nobody's default."""
    by_form = {
        "table": Thing if name == "right" else Maker,
        "name": "name",
        "names": ["name"],
        "query": [1, 0, 0],
        "condition": Maker.id > 3,
    }
    if kind.as_ in by_form:
        return by_form[kind.as_]
    if name in ("filters", "params"):
        return ["x"]
    values = {
        bool: default is not True,
        int: 77,
        float: 0.77,
        str: "x",
        bytes: b"x",
        dict: {"x": 1},
        list: ["x"],
        datetime.timedelta: datetime.timedelta(3),
    }
    return values[dict if isinstance(kind.type, JSONB) else kind.type.python_type] if kind.type is not None else [(1, 2)]


def test_the_server_understands_every_counterpart_with_all_of_its_arguments(db: psycopg.Connection[Any]) -> None:
    """It finds the function by the names and types that are sent, through the driver that leaves the server least to guess."""
    db.execute("CREATE SCHEMA shop")
    for table in (Maker.__table__, Thing.__table__):
        db.execute(str(CreateTable(typing.cast(Table, table)).compile(dialect=postgresql.dialect())))  # type: ignore[no-untyped-call]
    made = {
        "distance": [ours.distance(Maker.e, Maker.e, "x"), ours.distance(Maker, 1, Thing, 2, "e", "e")],
        "freshness": [ours.freshness(Maker.e, b"x"), ours.freshness(hash=b"x")],
        "search": [ours.search(Maker, "x", filter=Maker.id > 3, recall=0.5)],
        "search_like": [ours.search_like(Maker, 3)],
        "search_keys": [ours.search_keys(Maker, [1, 0, 0])],
        "explain_search": [ours.explain_search(Maker, "x", execute=False)],
        "link": [ours.link(Maker, "x", spans=[(1, 2)], precision=0.5, filter=Maker.id > 3)],
        "doctor": [ours.doctor()],
    }
    for name in sorted({name for name, *_ in functions_of(db)}):
        counterpart = getattr(ours, name)
        if name not in made:
            given = {one: sample(one, *said) for one, said in typed.parameters(counterpart).items()}
            made[name] = [counterpart(**given)]
        for one in made[name]:
            statement = one if isinstance(one, ours.Procedure) else select(one).limit(5)
            text = str(statement.compile(dialect=asyncpg.dialect()))  # type: ignore[no-untyped-call]
            if name not in OVERLOADED | set(BY_PROPERTY) | {"explain_search"}:
                missing = [
                    one for one in typed.parameters(counterpart) if one not in SENT_BY_PLACE and not re.search(rf'\b{one}"? => ', text)
                ]
                assert not missing, f"{name} does not send {missing}"
            told = db.pgconn.prepare(b"", text.encode())
            assert told.status == psycopg.pq.ExecStatus.COMMAND_OK, f"{name}: {told.error_message.decode()}: {text}"


def test_every_view_is_there_with_its_columns(db: psycopg.Connection[Any]) -> None:
    found = db.execute(
        "SELECT c.relname, json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum)::text"
        " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relnamespace = 'pgembed'::regnamespace AND c.relkind = 'v' AND c.relname !~ '^_' GROUP BY c.relname"
    ).fetchall()
    assert {name for name, _ in found} == set(views.__all__)
    for name, columns in found:
        table: Table = getattr(views, name)
        assert (table.schema, table.name, table.info["pgembed"]) == ("pgembed", name, "owned")
        assert [[one.name, sql_type(one.type)] for one in table.columns] == [[one, plain(kind)] for one, kind in json.loads(columns)]


def test_every_public_name_says_what_it_is() -> None:
    for name in ours.__all__:
        assert (inspect.getdoc(getattr(ours, name)) or "").strip(), f"{name} has no docstring"
