"""findings: one thing that is wrong, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass

from pgembed.columns import Table

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        severity: error: something does not work; warning: it works and is not as it should be; note: it could be better.
        subject: table.column, model, codec or index that it is about.
        finding: in a sentence, without any row's text.
        remedy: the statement that mends it, as it can be run; a line that begins with ``pgembed`` is a command of the shell.
    """

    severity: str
    subject: str
    finding: str
    remedy: str


def text(value: object) -> str:
    """A string constant in SQL, for remedies."""
    return "'" + str(value).replace("'", "''") + "'"


def named(table: Table) -> str:
    """A table as an argument of a remedy, with its schema: who runs it may have any search_path."""
    return text(table.shown if table.schema != "public" else f"public.{table.shown}")
