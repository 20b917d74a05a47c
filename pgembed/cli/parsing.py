"""parsing: what all commands have in common. A verb is declared once, by `Group.verb`, and has its help, its example and the usual options.

The database is named in one way everywhere: by ``--url``, or by the first word, which is taken for it where it is a URL or a conninfo
string, wherever options stand. Nothing heavy is imported here nor by the modules that declare verbs: ``pgembed --help`` is instant.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

Action = Callable[[argparse.Namespace], "int | None"]

EXIT_CODES = """exit status:
  0    done
  1    an error, which is told on stderr; or a check has found something wrong
  2    the command line is wrong
  3    what was asked for is not there: no server runs, no column is embedded, no row is found
  130  interrupted by Ctrl-C; the statement is cancelled at the server
  141  nobody reads the output any more"""

# A URL, or parameters of libpq: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
_DATABASE = re.compile(
    r"postgres(ql)?://|\s*(host|hostaddr|port|dbname|user|password|passfile|service|options|application_name|connect_timeout|client_encoding"
    r"|ssl\w+|target_session_attrs|keepalives\w*|gss\w+|krbsrvname|require\w+|channel_binding|load_balance_hosts)\s*="
)
_URL = 'of the database: a URL, or "host=... dbname=...", or "service=..."'


def is_database(word: str) -> bool:
    """Whether a word names a database by its form: a URL or a conninfo string."""
    return _DATABASE.match(word) is not None


class Parser(argparse.ArgumentParser):
    """A parser whose first word may name the database."""

    takes_database = False

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        options.setdefault("allow_abbrev", False)
        super().__init__(**options)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, with the database taken out first: argparse would fill an optional word before an option is read."""
        if not self.takes_database or args is None:
            return super().parse_known_args(args, namespace)
        found, others = super().parse_known_args(self._without_database(list(args)), namespace)
        word = found.database_word
        if word is not None:
            words = [action for action in self._actions if not action.option_strings and action.dest != "database_word"]
            if found.url is not None:
                self.error(f'the database is named twice: "{found.url}" and "{word}"')
            if words and not is_database(word):
                self.error(f'one word is too many, or "{word}" is to name a database: --url {word}')
            found.url = word
        if found.url is not None and not found.url.strip():
            # or what is meant for one database would be done to another
            self.error("the name of the database is empty: is a variable of your shell not set?")
        del found.database_word
        return found, others

    def _without_database(self, words: list[str]) -> list[str]:
        named = {"--url", "-d", "--database"}
        if any(word in named or word.startswith(("--url=", "--database=")) for word in words):
            return words
        at = 0
        while at < len(words) and words[at].startswith("-") and words[at] != "--":
            action = self._option_string_actions.get(words[at])
            at += 2 if action is not None and action.nargs is None else 1
        if at < len(words) and is_database(words[at]):
            return ["--url", words[at], *words[:at], *words[at + 1 :]]
        return words

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and how to go on; the status is 2."""
        self.exit(2, f"{self.format_usage()}{self.prog}: {message}\nhint: {self.prog} --help\n")

    def unknown(self, words: Sequence[str]) -> NoReturn:
        """Say which words nobody knows, and which option may be meant."""
        import difflib

        known = list(self._option_string_actions)
        near = [match for word in words for match in difflib.get_close_matches(word.split("=")[0], known, 1)]
        self.error(f"unrecognized arguments: {' '.join(words)}" + (f"; is it {' '.join(near)}?" if near else ""))


Subparsers = argparse._SubParsersAction  # the type has no public name


class Group:
    """Commands of one kind: ``pgembed codec list`` and its like; or those of ``pgembed`` itself."""

    def __init__(self, parsers: Any, parser: Parser | None = None) -> None:
        self._parsers = parsers
        self._parser = parser

    def group(self, name: str, text: str) -> Group:
        """A group of verbs."""
        parser = self._parsers.add_parser(name, help=text, description=_sentence(text))
        return Group(parser.add_subparsers(metavar="VERB", required=True), parser)

    def verb(
        self,
        name: str,
        action: Action,
        text: str,
        *,
        example: str | Sequence[str],
        database: str | None = None,
        json: bool = False,
        plain: bool = False,
    ) -> Parser:
        """A command.

        Args:
            text: what it does, in a line.
            example: command lines, without ``pgembed``, as somebody types them.
            database: what it does with a database that is named; None where it takes none.
            json: whether it says its results as one document of JSON too.
            plain: no options but its own: what it does not know is another program's.
        """
        examples = [example] if isinstance(example, str) else example
        shown = ["example:" if len(examples) == 1 else "examples:", *(f"  pgembed {line}" for line in examples)]
        parser: Parser = self._parsers.add_parser(name, help=text, description=_sentence(text), epilog="\n".join(shown))
        if self._parser is not None:  # the group's help has an example of each of its verbs
            self._parser.epilog = f"{self._parser.epilog or 'examples:'}\n  pgembed {examples[0]}"
        parser.set_defaults(action=action, parser=parser, json=False, verbose=False, url=None)
        if database is not None:
            parser.takes_database = True
            parser.add_argument("database_word", metavar="URL", nargs="?", help=_URL)
            more = f"; {database}" if database else ""
            parser.add_argument("-d", "--url", "--database", metavar="URL", help=f"the same, anywhere{more}")
        if json:
            parser.add_argument("--json", action="store_true", help="print one JSON document")
        if not plain:
            parser.add_argument("-v", "--verbose", action="store_true", help="of an error tell the SQLSTATE too")
        return parser


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def table_word(parser: Parser, name: str = "table") -> None:
    """The word that names a table."""
    parser.add_argument(name, metavar=name.upper(), help="schema.table, or a table of your own schema or of public")


def column_option(parser: Parser, text: str = "the embedded column, where there are several") -> None:
    """The option that names an embedded column, as in SQL or in short."""
    parser.add_argument("--column", "--column-name", metavar="COLUMN", help=text)


def given(options: argparse.Namespace, *names: str, **others: object) -> dict[str, Any]:
    """Arguments of a function of pgembed, of options that are called like them."""
    return {**{name: getattr(options, name) for name in names}, **others}
