"""links: mentions in a text and the rows they mean, as a selectable."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

from sqlalchemy import ColumnElement, Float, Integer, Subquery, Table, Text

from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.calls import Call, Target

T = TypeVar("T")


class Links(Subquery):
    """Mentions found by `link`, with the columns of the row that is meant in ``.c``; these are NULL where no row is."""

    inherit_cache = True
    _names: dict[str, str]

    @property
    def mention(self) -> ColumnElement[str]:
        """The words of the text."""
        return self.c[self._names["mention"]]

    @property
    def start_char(self) -> ColumnElement[int]:
        """Where the mention begins, in characters from 1."""
        return self.c[self._names["start_char"]]

    @property
    def end_char(self) -> ColumnElement[int]:
        """Where the mention ends, exclusive."""
        return self.c[self._names["end_char"]]

    @property
    def score(self) -> ColumnElement[float]:
        """How well the row fits the mention."""
        return self.c[self._names["score"]]

    @property
    def margin(self) -> ColumnElement[float]:
        """How much better it fits than the next row."""
        return self.c[self._names["margin"]]

    @property
    def decision(self) -> ColumnElement[str]:
        """``link``, ``review`` or ``nil``."""
        return self.c[self._names["decision"]]


class EntityLinks(Links, Generic[T]):
    """Mentions of rows of a mapped class."""

    inherit_cache = True
    _entity: type[T]

    @property
    def entity(self) -> type[T]:
        """The mapped class over these rows; selecting it gives None where no row is meant."""
        if "_aliased" not in self.__dict__:
            self.__dict__["_aliased"] = calls.entity(self, self._entity)
        found: type[T] = self.__dict__["_aliased"]
        return found


@overload
def link(target: Table, content: Any, linker: str | None = None) -> Links: ...


@overload
def link(target: type[T], content: Any, linker: str | None = None) -> EntityLinks[T]: ...


def link(target: Any, content: Any, linker: str | None = None) -> Any:
    """Mentions in a text and the rows of a table that they mean.

    Args:
        target: the mapped class or Table for which ``pgembed.create_linker`` declared a linker.
        content: the text, or an expression of type text that reads no table outside of a subquery.
        linker: its name; needed where the table has several.
    """
    found = Target.of(target)
    arguments = {"content": calls.value("content", content, Text())}
    if linker is not None:
        arguments["linker"] = calls.value("linker", linker, Text())
    made: type[Links] = Links if found.entity is None else EntityLinks
    links = calls.rows_of(
        made,
        Call("link", arguments, rows=[found.table]),
        {"entity": (found, "")},
        {"mention": Text(), "start_char": Integer(), "end_char": Integer(), "score": Float(), "margin": Float(), "decision": Text()},
    )
    if isinstance(links, EntityLinks):
        links._entity = found.entity
    return links
