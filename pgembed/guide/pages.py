"""pages: lines of text for a terminal: an overview, or all about one thing. Rooms above pass a `Database`; nothing is written."""

from __future__ import annotations

import difflib
import textwrap
from typing import Any

from pgembed import errors
from pgembed.database import Database, Row
from pgembed.guide.topics import FOLDER, Topic, subjects

_WIDTH = 100

# What is public: a line for each function, procedure, view and type. Two functions of one name are two lines: first the one that takes
# most, and of those the one that takes a text and not a vector or an array.
_OBJECTS = """
    SELECT p.proname::text AS name, CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END AS kind, p.oid::bigint AS oid,
        obj_description(p.oid, 'pg_proc') AS comment,
        row_number() OVER (
            ORDER BY p.pronargs DESC, pg_get_function_identity_arguments(p.oid) ~ '\\mvector|\\[\\]', p.oid
        ) AS place, has_function_privilege(p.oid, 'EXECUTE') AS is_allowed
    FROM pg_proc AS p WHERE p.pronamespace = 'pgembed'::regnamespace AND p.proname NOT LIKE '\\_%'
        AND coalesce(obj_description(p.oid, 'pg_proc'), '') NOT LIKE 'refused, %'
    UNION ALL
    SELECT c.relname::text, 'view', c.oid::bigint, obj_description(c.oid, 'pg_class'), 1, true
    FROM pg_class AS c WHERE c.relnamespace = 'pgembed'::regnamespace AND c.relkind = 'v' AND c.relname NOT LIKE '\\_%'
    UNION ALL
    SELECT t.typname::text, 'type', t.oid::bigint, obj_description(t.oid, 'pg_type'), 1, true
    FROM pg_type AS t
    WHERE t.typnamespace = 'pgembed'::regnamespace AND t.typrelid = 0 AND t.typcategory <> 'A' AND t.typname NOT LIKE '\\_%'
    ORDER BY 1, 2, 5
"""
_ARGUMENTS = """
    SELECT a.name, format_type(a.type, NULL) AS type, coalesce(a.mode, 'i') AS mode,
        CASE WHEN coalesce(a.mode, 'i') IN ('i', 'b', 'v') THEN pg_get_function_arg_default(p.oid, sum(CASE WHEN coalesce(a.mode, 'i')
            IN ('i', 'b', 'v') THEN 1 ELSE 0 END) OVER (ORDER BY a.number)::int) END AS value,
        p.proretset AS is_set, format_type(p.prorettype, NULL) AS returned
    FROM pg_proc AS p LEFT JOIN LATERAL unnest(
        p.proargnames, coalesce(p.proallargtypes, p.proargtypes::oid[]), p.proargmodes::text[]
    ) WITH ORDINALITY AS a (name, type, mode, number) ON true
    WHERE p.oid = $1::oid ORDER BY a.number
"""
_COLUMNS = """
    SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type, col_description(a.attrelid, a.attnum) AS comment
    FROM pg_attribute AS a WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""


def page(db: Database, topic: str | None) -> list[str]:
    """Lines on a topic; without one an overview of all.

    Args:
        topic: a function, procedure, view or type of the schema pgembed, with or without that; a subject; ``tables`` makes the tables
            of the examples, ``psqlrc`` is lines for ~/.psqlrc.
    Raises:
        errors.UnknownObject: there is no such topic; the hint has those with a name like it.
    """
    objects = list(db.execute(_OBJECTS))
    name = "" if topic is None else topic.strip().lower().removeprefix("pgembed.").split("(")[0].strip()
    if not name:
        return _overview(objects, [subject.name for subject in subjects() if subject.name])
    if name == "psqlrc":
        return psqlrc()
    topics = {each.name: each for subject in subjects() for each in subject.topics}
    found = [row for row in objects if row["name"] == name]
    if found:
        return _about(db, found, topics.get(name))
    if name in topics:
        return topics[name].example.splitlines()
    if name in {subject.name for subject in subjects()}:
        return _overview(objects, [name])
    known = sorted({*topics, *(str(row["name"]) for row in objects), *(subject.name for subject in subjects() if subject.name), "psqlrc"})
    near = [each for each in known if name in each][:4] or difflib.get_close_matches(name, known, 4, 0.6)
    like = f"Is it {' or '.join(near)}? " if near else ""
    raise errors.UnknownObject(f'there is no help on "{name[:60]}"', hint=f"{like}SELECT pgembed.help() lists what there is help on.")


def psqlrc() -> list[str]:
    """Lines for ~/.psqlrc."""
    return (FOLDER / "psqlrc").read_text("utf-8").splitlines()


def _overview(objects: list[Row], names: list[str]) -> list[str]:
    comments: dict[str, str] = {}
    for row in objects:
        comments.setdefault(str(row["name"]), _first(str(row["comment"] or "")))
    width = max(map(len, comments))
    lines = []
    for subject in subjects():
        if subject.name not in names:
            continue
        lines += [f"{subject.name}: {subject.about}"]
        for topic in subject.topics:
            lines += textwrap.wrap(
                comments.get(topic.name, ""), _WIDTH, initial_indent=f"  {topic.name:{width}}  ", subsequent_indent=" " * (width + 4)
            ) or [f"  {topic.name}"]
        lines.append("")
    return [
        *lines,
        "SELECT pgembed.help('search') tells more of one; help('tables') makes the tables that the examples use;",
        "help('psqlrc') is lines for ~/.psqlrc. In psql: \\df pgembed.[a-z]*   \\dv+ pgembed.[a-z]*",
        "TAB completes names after \\df pgembed., after CALL pgembed. and, those of views, after FROM pgembed.; none after SELECT.",
    ]


def _first(comment: str) -> str:
    """What a comment says first."""
    return comment.split(";")[0].split(": ")[0]


def _about(db: Database, found: list[Row], topic: Topic | None) -> list[str]:
    lines: list[str] = []
    told = ""
    for row in found:
        if lines:
            lines.append("")
        if row["comment"] != told:
            told = str(row["comment"] or "")
            lines += [f"{row['kind']} pgembed.{row['name']}", *textwrap.wrap(told, _WIDTH, initial_indent="  ", subsequent_indent="  "), ""]
        if row["kind"] == "view":
            lines += _view(db, row)
        elif row["kind"] != "type":
            lines += _call(db, row)
        if not row["is_allowed"]:
            lines += ["", "You may not call it. An administrator can do it, or allow it:", *_grant(db, row)]
    if topic is not None and topic.example:
        lines += [*([""] if lines[-1] else []), "examples, on the tables that help('tables') makes:"]
        lines += [f"  {line}" for line in topic.example.splitlines()]
    if topic is not None and topic.related:
        lines += ["", f"see also: {', '.join(topic.related)}"]
    return lines


def _grant(db: Database, row: Row) -> list[str]:
    asked = "SELECT format('  GRANT EXECUTE ON FUNCTION pgembed.%I TO %I;', $1, current_user) AS line"
    return [str(each["line"]) for each in db.execute(asked, ["pg_catalog.text"], [row["name"]])]


def _view(db: Database, row: Row) -> list[str]:
    columns = db.execute(_COLUMNS, ["pg_catalog.int8"], [row["oid"]])
    return _aligned([[str(each["name"]), str(each["type"]), str(each["comment"] or "")] for each in columns])


def _call(db: Database, row: Row) -> list[str]:
    arguments = db.execute(_ARGUMENTS, ["pg_catalog.int8"], [row["oid"]])
    given = [each for each in arguments if each["mode"] in ("i", "b", "v") and each["name"]]
    # a cast of a default says nothing that its type does not
    shown = [
        [_name(each), str(each["type"]), "" if each["value"] is None else f"DEFAULT {str(each['value']).split('::')[0]}"] for each in given
    ]
    begin = f"{'CALL ' if row['kind'] == 'procedure' else ''}{row['name']}("
    lines = [f"{begin})"] if not shown else [begin, *_aligned(shown), ")"]
    if row["kind"] == "procedure":
        return lines
    output = [each for each in arguments if each["mode"] in ("t", "o", "b") and each["name"]]
    if not output:
        first = arguments[0]
        return [*lines, f"returns {'rows of ' if first['is_set'] else ''}{first['returned']}"]
    said = _aligned([[_name(each), str(each["type"])] for each in output])
    return [*lines, "returns rows of" if arguments[0]["is_set"] else "returns", *said]


def _name(argument: Row) -> str:
    # as it must be written where it is a word of SQL's
    name = str(argument["name"])
    return f'"{name}"' if name in ("left", "right", "precision", "into") else name


def _aligned(rows: list[list[Any]]) -> list[str]:
    widths = [max((len(row[place]) for row in rows if place < len(row)), default=0) for place in range(max(map(len, rows), default=0))]
    lines = []
    for row in rows:
        *first, last = row
        before = "  " + "".join(f"{cell:{width}}  " for cell, width in zip(first, widths, strict=False))
        wide = max(40, _WIDTH + 20 - len(before))
        lines += textwrap.wrap(last, wide, initial_indent=before, subsequent_indent=" " * len(before)) or [before.rstrip()]
    return lines
