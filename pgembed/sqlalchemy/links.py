"""links: mentions in a text and the rows they mean, as selectables."""

from __future__ import annotations

from typing import Annotated, Any, Generic, TypeVar, overload

from sqlalchemy import Boolean, ColumnElement, Double, Float, Integer, Subquery, Table, Text, cast
from sqlalchemy.dialects.postgresql import ARRAY, INT4RANGE, REGCLASS

from pgembed.sqlalchemy import calls
from pgembed.sqlalchemy.calls import Call
from pgembed.sqlalchemy.targets import Target
from pgembed.sqlalchemy.typed import Condition, Flag, Kind, Number, Out, Real, Rows, Words, rows

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
    def mention_type(self) -> ColumnElement[str]:
        """By its form: ``name``, ``description``, ``demonstrative`` or ``pronoun``."""
        return self.c[self._names["mention_type"]]

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
def link(
    target: Table,
    content: Any,
    linker: str | None = None,
    *,
    spans: Any = None,
    filter: Any = None,
    precision: float | ColumnElement[float] | None = None,
    pronouns: bool | ColumnElement[bool] = False,
) -> Links: ...


@overload
def link(
    target: type[T],
    content: Any,
    linker: str | None = None,
    *,
    spans: Any = None,
    filter: Any = None,
    precision: float | ColumnElement[float] | None = None,
    pronouns: bool | ColumnElement[bool] = False,
) -> EntityLinks[T]: ...


def link(
    target: Any,
    content: Any,
    linker: str | None = None,
    *,
    spans: Any = None,
    filter: Any = None,
    precision: float | ColumnElement[float] | None = None,
    pronouns: bool | ColumnElement[bool] = False,
) -> Any:
    """Mentions in a text and the rows of a table that they mean.

    Args:
        target: the mapped class or Table for which ``pgembed.create_linker`` declared a linker.
        content: the text, or an expression of type text that reads no table outside of a subquery.
        linker: its name; needed where the table has several.
        spans: the places to link, pairs of first character from 1 and end, exclusive; or an expression of type int4range[]. None finds
            them.
        filter: a boolean expression over the target's own columns: only rows that pass can be meant.
        precision: share of the links that is to be right; None for the default.
        pronouns: whether "it" and "she" are mentions too.
    Returns:
        A subquery; the columns of the row that is meant are in ``.c`` by their names, those of the second best row as ``runner_up_...``.
    """
    found = Target.of(target)
    arguments = {"content": calls.value("content", content, Text())}
    if linker is not None:
        arguments["linker"] = calls.value("linker", linker, Text())
    if spans is not None:
        arguments["spans"] = _spans(spans)
    if precision is not None:
        arguments["precision"] = calls.value("precision", precision, Float())
    if pronouns is not False:
        arguments["pronouns"] = calls.value("pronouns", pronouns, Boolean())
    made: type[Links] = Links if found.entity is None else EntityLinks
    links = calls.rows_of(
        made,
        Call("link", arguments, rows=[found.table], condition=("filter", found.condition(filter), {found.table.name: found.table})),
        {"entity": (found, ""), "runner_up": (found, "runner_up_")},
        {
            "mention": Text(),
            "start_char": Integer(),
            "end_char": Integer(),
            "score": Float(),
            "margin": Float(),
            "decision": Text(),
            "mention_type": Text(),
        },
        beside=("runner_up",),
        may_miss=("entity",),
    )
    if isinstance(links, EntityLinks):
        links._entity = found.entity
    return links


class KeyLinks(Rows):
    """Mentions found by `link_keys`: offsets count characters from 1, the end is exclusive; keys are text, NULL where no row is meant."""

    inherit_cache = True
    mention = Out(Text)
    start_char = Out(Integer)
    end_char = Out(Integer)
    entity_table = Out(REGCLASS)
    entity_key = Out(Text)
    score: Out[float] = Out(Double)
    margin: Out[float] = Out(Double)
    decision = Out(Text)
    runner_up_table = Out(REGCLASS)
    runner_up_key = Out(Text)
    mention_type = Out(Text)


class LinkCandidates(Rows):
    """Lines of `explain_link`: of each mention the rows that it may mean, the most probable first, with the reasons in words."""

    inherit_cache = True
    start_char = Out(Integer)
    end_char = Out(Integer)
    mention = Out(Text)
    rank = Out(Integer)
    entity_table = Out(REGCLASS)
    entity_key = Out(Text)
    entity_name = Out(Text)
    probability: Out[float] = Out(Double)
    decision = Out(Text)
    evidence: Out[Any] = Out(ARRAY(Text()))


def link_keys(
    linker: Words,
    content: Words,
    spans: Annotated[Any, Kind()] = None,
    filter: Condition = None,
    precision: Real | None = None,
    pronouns: Flag = False,
) -> KeyLinks:
    """Mentions in a text, and table and key of the rows they mean, of all tables of a linker.

    Args:
        linker: its name.
        filter: a boolean expression over the one table of the linker.
    All else is as in `link`.
    """
    given = {**locals(), "spans": None if spans is None else _spans(spans)}
    return rows(KeyLinks, link_keys, given)


def explain_link(
    linker: Words,
    content: Words,
    start_char: Number | None = None,
    end_char: Number | None = None,
    k: Number = 3,
    filter: Condition = None,
    pronouns: Flag = False,
) -> LinkCandidates:
    """The rows that a mention may mean, the most probable first, with the reasons in words.

    Args:
        start_char, end_char: its place; None: all mentions that are found.
        k: rows for each mention.
    All else is as in `link_keys` and `link`.
    """
    return rows(LinkCandidates, explain_link, locals())


def _spans(given: Any) -> ColumnElement[Any]:
    if hasattr(given, "__clause_element__") or isinstance(given, ColumnElement):
        return calls.value("spans", given, None)
    # as text, which every driver knows
    written = "{" + ",".join(f'"[{int(start)},{int(end)})"' for start, end in given) + "}"
    return cast(calls.value("spans", written, Text()), ARRAY(INT4RANGE))
