"""linker: the commands ``pgembed linker ...``: how rows are named in texts, and links from texts to rows."""

from __future__ import annotations

import argparse

from pgembed.cli import connecting, progressing
from pgembed.cli.parsing import Action, Group, Parser, given, table_word
from pgembed.cli.private import NOT_THERE
from pgembed.cli.showing import done, show, tell

_FIELDS = ("name", "status", "targets", "names", "rows", "labels", "trained_at")
_LINKS = ("mention", "decision", "score", "entity_table", "entity_key", "start_char", "end_char", "mention_type", "runner_up_key")
_ACCURACY = ("mention_type", "mentions", "precision", "recall", "f1", "f1_low", "f1_high", "accuracy_at_1", "accuracy_at_10")


def add_commands(commands: Group) -> None:
    """The verbs of ``pgembed linker``."""
    verbs = commands.group("linker", "linkers: list, create, train, evaluate, link, link-table, drop")

    def verb(name: str, action: Action, text: str, example: str | list[str]) -> Parser:
        added = verbs.verb(name, action, text, example=example, database="", json=True)
        if name != "list":
            added.add_argument("name", metavar="NAME", help="of the linker")
        return added

    verb("list", _list, "list the linkers of a database, and what they need", "linker list service=shop")

    create = verb("create", _create, "declare how rows of a table are named in text", "linker create company company --aliases ticker")
    table_word(create)
    for name, text in (
        ("key", "columns that tell a row (default: the primary key)"),
        ("names", "SQL that gives a row's name (default: its column of names)"),
        ("aliases", "SQL that gives other names"),
        ("context", "an embedded column, or SQL, that says what a row is about"),
        ("types", "SQL that gives a row's type"),
    ):
        create.add_argument(f"--{name}", metavar="SQL", help=text)
    create.add_argument("--relations", metavar="JSON", help="relations to other rows")
    create.add_argument("--alias-tables", metavar="JSON", help="tables of names")

    train = verb("train", _train, "let a linker learn from labels and corrections", "linker train company --labels company_label")
    train.add_argument("--labels", metavar="TABLE", help="made by pgembed.create_link_labels()")
    train.add_argument("--seed", type=int, metavar="N", help="the same one gives the same linker (default: 0)")

    evaluate = verb("evaluate", _evaluate, "measure a linker on labels that it has not learned from", "linker evaluate company gold")
    evaluate.add_argument("gold", metavar="TABLE", help="labels as pgembed.create_link_labels() makes them")
    evaluate.add_argument("--find-mentions", action="store_true", default=None, help="let it find the places too")
    evaluate.add_argument("--target-precision", type=float, metavar="P", help="the precision that links are to have")
    evaluate.add_argument("--pronouns", action="store_true", default=None, help="link pronouns too")
    evaluate.add_argument("--seed", type=int, metavar="N", help="of the intervals (default: 0)")

    link = verb("link", _link, "link the names in a text to rows", "linker link company 'Apple hired a chef.'")
    link.add_argument("content", metavar="TEXT", help="the text")
    _filters(link)

    table = verb(
        "link-table",
        _link_table,
        "link the texts of a table into a table of links, and keep it up to date",
        "linker link-table company article body --into article_company",
    )
    table_word(table, "source")
    table.add_argument("text_column", metavar="COLUMN", help="its column of texts")
    table.add_argument("--into", required=True, metavar="TABLE", help="the table of links, which is made where there is none")
    _filters(table)
    table.add_argument("--key", metavar="COLUMNS", help="that tell a row of the source, where it is a view")
    table.add_argument("--batch-size", type=int, metavar="ROWS", help="commit so often (default: 256)")
    table.add_argument("--relink", action="store_true", default=None, help="do all texts again")

    verb("drop", _drop, "undo create, and forget what the linker has learned", "linker drop company")


def _filters(parser: Parser) -> None:
    parser.add_argument("--filter", metavar="SQL", help="a condition on the rows that may be linked to")
    parser.add_argument("--params", metavar="JSON", help="values for the filter")
    parser.add_argument("--precision", type=float, metavar="P", help="the precision that links are to have")
    parser.add_argument("--pronouns", action="store_true", default=None, help="link pronouns too")


def _list(options: argparse.Namespace) -> None:
    with connecting.session(options) as session:
        show(options, session.rows("SELECT * FROM pgembed.linkers ORDER BY name"), _FIELDS)


def _create(options: argparse.Namespace) -> None:
    names = ("name", "key", "names", "aliases", "context", "types", "relations", "alias_tables")
    with connecting.session(options) as session:
        table = session.table(options.table)
        session.as_caller()
        session.call("create_linker", given(options, *names, target=table))
    done(options, options.name, "created")


def _train(options: argparse.Namespace) -> None:
    with connecting.session(options) as session, progressing.bar(session, connecting.database(options)):
        labels = session.table(options.labels) if options.labels else None
        session.call("train_linker", given(options, "name", "seed", labels=labels), "CALL")
    done(options, options.name, "trained")


def _evaluate(options: argparse.Namespace) -> None:
    with connecting.session(options) as session:
        names = ("name", "find_mentions", "target_precision", "pronouns", "seed")
        rows = session.call("evaluate_linker", given(options, *names, gold=session.table(options.gold)))
    show(options, rows, _ACCURACY)


def _link(options: argparse.Namespace) -> int:
    with connecting.session(options) as session:
        session.as_caller()
        rows = session.call("link_keys", given(options, "content", "filter", "params", "precision", "pronouns", linker=options.name))
    show(options, rows, _LINKS)
    if not rows:
        tell("no mention is found")
    return 0 if rows else NOT_THERE


def _link_table(options: argparse.Namespace) -> None:
    names = ("text_column", "into", "filter", "params", "precision", "pronouns", "key", "batch_size", "relink")
    with connecting.session(options) as session, progressing.bar(session, connecting.database(options)):
        source = session.table(options.source)
        session.as_caller()
        session.call("link_table", given(options, *names, source=source, linker=options.name), "CALL")
    done(options, options.into, "linked", f"links of {source}", source=source)


def _drop(options: argparse.Namespace) -> None:
    with connecting.session(options) as session:
        session.call("drop_linker", {"name": options.name})
    done(options, options.name, "dropped")
