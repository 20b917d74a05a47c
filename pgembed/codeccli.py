"""codeccli: the commands ``pgembed codec ...``. Results go to stdout, progress to stderr."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pgembed import codecs, errors
from pgembed.modelcli import said, table, tell

if TYPE_CHECKING:
    from types import ModuleType

# Of pgembed.codecs and pgembed.codes: what a line of the list shows.
_OF_CODEC = ("name", "method", "bytes", "table_name", "column_name", "recall_100", "retrain_reason")
_OF_CODE = ("table_name", "column_name", "codec", "code_type", "is_active", "is_filled", "rows", "pending", "index_name", "covering_index")
# Arguments of pgembed.train_codec() that are options here.
_OPTIONS = (
    "bits",
    "dims",
    "bytes",
    "centered",
    "rotation",
    "residual_bits",
    "queries",
    "queries_column",
    "sample_rows",
    "seed",
    "code_type",
)


def add_commands(parser: argparse.ArgumentParser) -> None:
    """The verbs of ``pgembed codec``."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def verb(name: str, action: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.add_argument("url", metavar="URL", help="libpq URL of the database")
        added.set_defaults(action=action)
        return added

    verb("list", _list, "list the codecs of a database, and the columns of codes")

    train = verb("train", _train, "train a codec on an embedded column")
    train.add_argument("name", help="what it shall be called")
    train.add_argument("table", help="schema.table, or a table of the schema public")
    train.add_argument("method", choices=tuple(codecs.METHODS), help="how vectors are encoded: %(choices)s", metavar="METHOD")
    train.add_argument("--column", help="the embedded column, where there are several")
    train.add_argument("--bits", type=int, help="of sign-like codes for each dimension, or for each number")
    train.add_argument("--dims", type=int, help="that are kept")
    train.add_argument("--bytes", type=int, help="of a code")
    train.add_argument("--centered", action=argparse.BooleanOptionalAction, help="take the mean away first")
    train.add_argument("--rotation", choices=("none", "random", "learned"), help="turn the vectors first")
    train.add_argument("--residual-bits", type=int, help="for what the first code leaves over")
    train.add_argument("--queries", metavar="TABLE", help="a table of queries as users ask them")
    train.add_argument("--queries-column", metavar="COLUMN", help="its column of texts or vectors")
    train.add_argument("--sample-rows", type=int, help="to train on, at most")
    train.add_argument("--seed", type=int, help="the same one gives the same codec")
    train.add_argument("--code-type", choices=("binvec", "bit"), help="type of codes of bits")
    train.add_argument("--no-measure", action="store_true", help="do not measure the recall")

    recommend = verb("recommend", _recommend, "measure codecs on a column and recommend one")
    recommend.add_argument("table", help="schema.table, or a table of the schema public")
    recommend.add_argument("--column", help="the embedded column, where there are several")
    recommend.add_argument("--min-recall", type=float, help="recall at 10 that is needed (default: 0.99)")
    recommend.add_argument("--max-bytes", type=int, help="of a code")
    recommend.add_argument("--queries", metavar="TABLE", help="a table of queries as users ask them")
    recommend.add_argument("--queries-column", metavar="COLUMN", help="its column of texts or vectors")

    add = verb("add", _add, "give a table a column of codes, filled and indexed, while others use it; go on where that was interrupted")
    add.add_argument("table", help="schema.table, or a table of the schema public")
    add.add_argument("codec", help="the codec's name")
    add.add_argument("--column", help="name of the column (default: the codec's)")
    add.add_argument("--covering", metavar="COLUMNS", help="index the codes by these columns too, for searches that filter by them: a,b")

    retrain = verb("retrain", _retrain, "train a codec anew, and switch to the new codes, while others use the table")
    retrain.add_argument("name", help="of the old codec")
    retrain.add_argument("--new-name", help="of the new one (default: NAME_2, ...)")
    retrain.add_argument("--drop-old", action="store_true", help="drop the old codes and the old codec at last")

    check = verb("check", _check, "measure a codec again on the rows as they are")
    check.add_argument("name")
    check.add_argument("--queries", metavar="TABLE", help="a table of queries as users ask them")
    check.add_argument("--queries-column", metavar="COLUMN", help="its column of texts or vectors")

    drop = verb("drop", _drop, "drop a codec")
    drop.add_argument("name")
    drop.add_argument("--codes", action="store_true", help="and first all columns of its codes")


def _list(options: argparse.Namespace) -> None:
    found, codes = _room().listed(options.url)
    for rows, fields in ((found, _OF_CODEC), (codes, _OF_CODE)):
        if rows is codes and not codes:
            continue
        print_rows([{field: row.get(field) for field in fields} for row in rows], fields)


def _train(options: argparse.Namespace) -> None:
    given: dict[str, Any] = {name: getattr(options, name) for name in _OPTIONS}
    given |= {"name": options.name, "method": options.method, "column_name": options.column, "measure": not options.no_measure}
    _room().call(options.url, "train_codec", given, tell, table=options.table)
    print(f"{options.name}: trained")


def _recommend(options: argparse.Namespace) -> None:
    names = ("min_recall", "max_bytes", "queries", "queries_column")
    given = {**{name: getattr(options, name) for name in names}, "column_name": options.column}
    print_rows(_room().call(options.url, "recommend_codec", given, tell, table=options.table))


def _add(options: argparse.Namespace) -> None:
    covering = [name.strip() for name in options.covering.split(",")] if options.covering else None
    made = _room().add(options.url, options.table, options.codec, options.column, covering, tell)
    print(_made(made))


def _retrain(options: argparse.Namespace) -> None:
    new, made = _room().retrain(options.url, options.name, options.new_name, options.drop_old, tell)
    print(f"{new}: trained")
    for each in made:
        print(_made(each))
    if options.drop_old:
        print(f"{options.name}: dropped")


def _check(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) for name in ("name", "queries", "queries_column")}
    print_rows(_room().call(options.url, "check_codec", given, tell))


def _drop(options: argparse.Namespace) -> None:
    for column in _room().drop(options.url, options.name, options.codes, tell):
        print(f"{column}: dropped")
    print(f"{options.name}: dropped")


def print_rows(rows: list[Mapping[str, Any]], fields: tuple[str, ...] = ()) -> None:
    """Rows as a table, their names above; columns of which all are NULL are left out."""
    names = [name for name in (fields or (rows[0] if rows else ())) if not rows or any(row[name] is not None for row in rows)]
    shown = [[f"{row[name]:.3f}" if isinstance(row[name], float) else said(row[name]) for name in names] for row in rows]
    for line in table([[name.upper() for name in names], *shown]):
        print(line)


def _made(made: Any) -> str:
    return f"{made.table}.{made.column}: filled, indexes of {made.index_bytes / 1e6:.1f} MB"


def _room() -> ModuleType:
    try:
        from pgembed import codecdb
    except ImportError as error:
        raise errors.NotReady(str(error), hint="Install it: pip install 'pgembed-extension[psycopg]'.") from None
    return codecdb
