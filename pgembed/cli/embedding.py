"""embedding: the commands ``pgembed embedding ...``: which columns are embedded, of what, and that they are fresh."""

from __future__ import annotations

import argparse

from pgembed.cli import connecting, progressing
from pgembed.cli.parsing import Action, Group, Parser, column_option, given, table_word
from pgembed.cli.showing import done, show

_FIELDS = ("table_name", "column_name", "model", "rows", "fresh", "stale", "pending", "failed", "metric", "sync", "source")
_SYNC, _METRICS, _BY_HAND = ("auto", "immediate", "queued", "manual"), ("cosine", "l2", "inner_product"), ("mark", "refuse")


def add_commands(commands: Group) -> None:
    """The verbs of ``pgembed embedding``."""
    verbs = commands.group("embedding", "embedded columns: list, add, adopt, refresh, alter, drop")

    def verb(name: str, action: Action, text: str, example: str | list[str]) -> Parser:
        added = verbs.verb(name, action, text, example=example, database="", json=True)
        if name != "list":
            table_word(added)
        return added

    verb("list", _list, "list the embedded columns of a database", "embedding list service=shop --json")

    add = verb(
        "add",
        _add,
        "give a table a column of embeddings of a source expression",
        ["embedding add product \"name || ': ' || description\" --refresh", "embedding add docs body --chunk-tokens 200"],
    )
    add.add_argument("source", metavar="SOURCE", help="SQL over the table's own columns")
    _choices(add, "the database's")
    column_option(add, "name of the new column (default: embedding)")
    add.add_argument("--refresh", action="store_true", help="then embed the rows that are there")

    adopt = verb("adopt", _adopt, "declare a column of vectors that exists already", "embedding adopt product e --model all-minilm-l6-v2")
    adopt.add_argument("column", metavar="COLUMN", help="the column of vectors")
    adopt.add_argument("--source", metavar="SQL", help="what it was made of, so that pgembed keeps it fresh")
    _choices(adopt, "nobody knows; then searches take vectors only", chunks=False)

    refresh = verb("refresh", _refresh, "embed the rows that need it, committing as it goes", "embedding refresh product --batch-size 5000")
    column_option(refresh)
    refresh.add_argument("--batch-size", type=int, metavar="ROWS", help="commit so often (default: 1000)")
    refresh.add_argument("--no-index", dest="build_index", action="store_false", default=None, help="build no index at the end")
    refresh.add_argument("--recheck", action="store_true", default=None, help="compare every row's text with its vector's")

    alter = verb(
        "alter",
        _alter,
        "change an embedded column; what is not given stays",
        "embedding alter product --sync queued",
    )
    alter.add_argument("--source", metavar="SQL", help="SQL over the table's own columns")
    _choices(alter, "the one it has")
    column_option(alter)

    drop = verb("drop", _drop, "undo add or adopt", "embedding drop product --keep-column")
    column_option(drop)
    drop.add_argument(
        "--keep-column", action=argparse.BooleanOptionalAction, help="keep the vectors (default: those of an adopted column only)"
    )


def _choices(parser: Parser, model: str, *, chunks: bool = True) -> None:
    parser.add_argument("--model", metavar="NAME", help=f"pgembed model list --url URL shows them (default: {model})")
    parser.add_argument("--metric", choices=_METRICS, help="how near vectors are: %(choices)s", metavar="METRIC")
    parser.add_argument("--sync", help="who embeds rows that are written: %(choices)s", choices=_SYNC, metavar="SYNC")
    parser.add_argument("--by-hand", choices=_BY_HAND, help="what becomes of vectors that others write: %(choices)s", metavar="WHAT")
    if chunks:
        parser.add_argument("--chunk-tokens", type=int, metavar="N", help="embed a text in parts of so many tokens")
        parser.add_argument("--chunk-overlap", type=int, metavar="N", help="tokens that a part shares with the next one")


def _list(options: argparse.Namespace) -> None:
    with connecting.session(options) as session:
        show(options, session.rows("SELECT * FROM pgembed.embeddings ORDER BY table_name::text, column_name"), _FIELDS)


def _add(options: argparse.Namespace) -> None:
    names = ("source", "model", "metric", "sync", "by_hand", "chunk_tokens", "chunk_overlap")
    with connecting.session(options) as session:
        table = session.table(options.table)
        session.as_caller()
        session.call("add_embedding", given(options, *names, target=table, column_name=options.column))
        column = options.column or "embedding"
        done(options, f"{table}.{column}", "added")
        if options.refresh:
            with progressing.bar(session, connecting.database(options)):
                session.call("refresh", {"target": table, "column_name": column}, "CALL")
            done(options, f"{table}.{column}", "refreshed")


def _adopt(options: argparse.Namespace) -> None:
    names = ("source", "model", "metric", "sync", "by_hand")
    with connecting.session(options) as session:
        table = session.table(options.table)
        session.as_caller()
        session.call("adopt_embedding", given(options, *names, target=table, column_name=options.column))
        done(options, f"{table}.{options.column}", "adopted")


def _refresh(options: argparse.Namespace) -> None:
    with connecting.session(options) as session, progressing.bar(session, connecting.database(options)):
        table = session.table(options.table)
        session.as_caller()
        session.call("refresh", given(options, "batch_size", "build_index", "recheck", target=table, column_name=options.column), "CALL")
    done(options, table, "refreshed")


def _alter(options: argparse.Namespace) -> None:
    names = ("source", "model", "metric", "sync", "by_hand", "chunk_tokens", "chunk_overlap")
    if all(getattr(options, name) is None for name in names):
        options.parser.error("nothing is to be changed: say --source, --model, --sync, ...")
    with connecting.session(options) as session:
        table = session.table(options.table)
        session.as_caller()
        session.call("alter_embedding", given(options, *names, target=table, column_name=options.column))
        done(options, table, "altered")


def _drop(options: argparse.Namespace) -> None:
    with connecting.session(options) as session:
        table = session.table(options.table)
        session.call("drop_embedding", given(options, "keep_column", target=table, column_name=options.column))
        done(options, table, "dropped")
