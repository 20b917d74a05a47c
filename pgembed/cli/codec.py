"""codec: the commands ``pgembed codec ...``. Results go to stdout, progress to stderr."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from pgembed.cli import progressing
from pgembed.cli.connecting import database, room
from pgembed.cli.parsing import Action, Group, Parser, column_option, table_word
from pgembed.cli.showing import done, show, show_parts, tell

if TYPE_CHECKING:
    from pgembed.clientdb import Session

# As pgembed.codecs knows them, which is not imported before it is needed.
METHODS = (
    "sign",
    "thermometer",
    "recurrent",
    "rabitq",
    "matryoshka",
    "pca",
    "leanvec",
    "mpad",
    "int8",
    "lvq",
    "pq",
    "opq",
)
# Of pgembed.codecs and pgembed.codes: what a line of the list shows.
_OF_CODEC = ("name", "method", "bytes", "table_name", "column_name", "recall_100", "retrain_reason")
# Of recommend_codec(): the rest is for JSON.
_OF_RECOMMENDED = ("method", "bytes", "recall", "scan", "rescore", "is_recommended", "statement")
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


def add_commands(commands: Group) -> None:
    """The verbs of ``pgembed codec``."""
    verbs = commands.group("codec", "codecs: list, train, recommend, add, retrain, check, drop")

    def verb(name: str, action: Action, text: str, example: str | list[str]) -> Parser:
        return verbs.verb(name, action, text, example=example, database="", json=True)

    verb("list", _list, "list the codecs of a database, and the columns of codes", "codec list service=shop --json")

    train = verb("train", _train, "train a codec on an embedded column", "codec train product_sign product sign --centered")
    train.add_argument("name", metavar="NAME", help="what it shall be called")
    table_word(train)
    train.add_argument("method", choices=METHODS, help="how vectors are encoded: %(choices)s", metavar="METHOD")
    column_option(train)
    train.add_argument("--bits", type=int, metavar="N", help="of sign-like codes for each dimension, or for each number")
    train.add_argument("--dims", type=int, metavar="N", help="that are kept")
    train.add_argument("--bytes", type=int, metavar="N", help="of a code")
    train.add_argument("--centered", action=argparse.BooleanOptionalAction, help="take the mean away first")
    train.add_argument("--rotation", choices=("none", "random", "learned"), metavar="KIND", help="turn the vectors first: %(choices)s")
    train.add_argument("--residual-bits", type=int, metavar="N", help="for what the first code leaves over")
    train.add_argument("--queries", metavar="TABLE", help="a table of queries as users ask them")
    train.add_argument("--queries-column", metavar="COLUMN", help="its column of texts or vectors")
    train.add_argument("--sample-rows", type=int, metavar="N", help="to train on, at most")
    train.add_argument("--seed", type=int, metavar="N", help="the same one gives the same codec")
    train.add_argument("--code-type", choices=("binvec", "bit"), metavar="TYPE", help="type of codes of bits: %(choices)s")
    train.add_argument("--no-measure", action="store_true", help="do not measure the recall")

    recommend = verb("recommend", _recommend, "measure codecs on a column and recommend one", "codec recommend product --max-bytes 48")
    table_word(recommend)
    column_option(recommend)
    recommend.add_argument("--min-recall", type=float, metavar="SHARE", help="recall at 10 that is needed (default: 0.99)")
    recommend.add_argument("--max-bytes", type=int, metavar="N", help="of a code")
    recommend.add_argument("--queries", metavar="TABLE", help="a table of queries as users ask them")
    recommend.add_argument("--queries-column", metavar="COLUMN", help="its column of texts or vectors")

    add = verb(
        "add",
        _add,
        "give a table a column of codes, filled and indexed, while others use it; go on where that was interrupted",
        "codec add product product_sign --covering price,category",
    )
    table_word(add)
    add.add_argument("codec", metavar="CODEC", help="the codec's name")
    column_option(add, "name of the column (default: the codec's)")
    add.add_argument("--covering", metavar="COLUMNS", help="index the codes by these columns too, for searches that filter by them: a,b")

    retrain = verb(
        "retrain",
        _retrain,
        "train a codec anew, and switch to the new codes, while others use the table",
        "codec retrain product_sign --drop-old",
    )
    retrain.add_argument("name", metavar="NAME", help="of the old codec")
    retrain.add_argument("--new-name", metavar="NAME", help="of the new one (default: NAME_2, ...)")
    retrain.add_argument("--drop-old", action="store_true", help="drop the old codes and the old codec at last")

    check = verb("check", _check, "measure a codec again on the rows as they are", "codec check product_sign --json")
    check.add_argument("name", metavar="NAME", help="of the codec")
    check.add_argument("--queries", metavar="TABLE", help="a table of queries as users ask them")
    check.add_argument("--queries-column", metavar="COLUMN", help="its column of texts or vectors")

    drop = verb("drop", _drop, "drop a codec", "codec drop product_sign --codes")
    drop.add_argument("name", metavar="NAME", help="of the codec")
    drop.add_argument("--codes", action="store_true", help="and first all columns of its codes")


def _list(options: argparse.Namespace) -> None:
    found, codes = room("codecdb").listed(database(options), tell)
    show_parts(options, {"codecs": (found, _OF_CODEC), "codes": (codes, _OF_CODE)})


def _train(options: argparse.Namespace) -> None:
    given: dict[str, Any] = {name: getattr(options, name) for name in _OPTIONS}
    given |= {"name": options.name, "method": options.method, "column_name": options.column, "measure": not options.no_measure}
    room("codecdb").call(database(options), "train_codec", given, tell, table=options.table, follow=_bar(options))
    done(options, options.name, "trained")


def _recommend(options: argparse.Namespace) -> None:
    names = ("min_recall", "max_bytes", "queries", "queries_column")
    given = {**{name: getattr(options, name) for name in names}, "column_name": options.column}
    show(
        options,
        room("codecdb").call(database(options), "recommend_codec", given, tell, table=options.table, follow=_bar(options)),
        _OF_RECOMMENDED,
    )


def _add(options: argparse.Namespace) -> None:
    covering = [name.strip() for name in options.covering.split(",")] if options.covering else None
    made = room("codecdb").add(database(options), options.table, options.codec, options.column, covering, tell, _bar(options))
    _filled(options, made)


def _retrain(options: argparse.Namespace) -> None:
    new, made = room("codecdb").retrain(database(options), options.name, options.new_name, options.drop_old, tell, _bar(options))
    done(options, new, "trained")
    for each in made:
        _filled(options, each)
    if options.drop_old:
        done(options, options.name, "dropped")


def _check(options: argparse.Namespace) -> None:
    given = {name: getattr(options, name) for name in ("name", "queries", "queries_column")}
    show(options, room("codecdb").call(database(options), "check_codec", given, tell))


def _drop(options: argparse.Namespace) -> None:
    for column in room("codecdb").drop(database(options), options.name, options.codes, tell):
        done(options, column, "dropped")
    done(options, options.name, "dropped")


def _bar(options: argparse.Namespace) -> Callable[[Session], AbstractContextManager[None]]:
    return lambda session: progressing.bar(session, database(options))


def _filled(options: argparse.Namespace, made: Any) -> None:
    size = made.index_bytes
    done(options, f"{made.table}.{made.column}", "filled", f"filled, indexes of {size / 1e6:.1f} MB", index_bytes=size)
