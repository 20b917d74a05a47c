"""topics: the data file of the guide, topics.sql, read: subjects, their topics, and the examples of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Topic:
    """Something there is help on.

    Attributes:
        name: of a function, procedure, view or type of the schema pgembed; or of what the guide itself has.
        related: names of other topics.
        example: SQL, as it stands in the file; it runs after those before it.
    """

    name: str
    related: tuple[str, ...]
    example: str


@dataclass(frozen=True)
class Subject:
    """Topics that belong together; the first ones are of the guide itself, under the name ""."""

    name: str
    about: str
    topics: tuple[Topic, ...]


@cache
def subjects() -> tuple[Subject, ...]:
    """All subjects, in the order in which their examples run."""
    found: list[Subject] = []
    for number, part in enumerate(("\n" + (FOLDER / "topics.sql").read_text("utf-8")).split("\n-- # ")):
        head, *rest = part.split("\n-- ## ")
        name, _, about = head.partition("\n")[0].partition(": ") if number else ("", "", "")
        found.append(Subject(name, about.strip(), tuple(map(_topic, rest))))
    return tuple(found)


def _topic(text: str) -> Topic:
    head, _, example = text.partition("\n")
    name, _, related = head.partition("|")
    return Topic(name.strip(), tuple(related.split()), example.strip())
