"""pairs: what a semantic join gives, as a selectable with both rows, or mapped classes over them."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Subquery

from pgembed.sqlalchemy import calls

LeftT = TypeVar("LeftT")
RightT = TypeVar("RightT")


class Pairs(Subquery):
    """Pairs found by `semantic_join`; ``.c`` has the columns of both rows, named ``left_...`` and ``right_...``."""

    inherit_cache = True
    _names: dict[str, str]

    @property
    def distance(self) -> ColumnElement[float]:
        """Distance between the two rows."""
        return self.c[self._names["distance"]]

    @property
    def rank(self) -> ColumnElement[int]:
        """1 for the right row that is nearest to its left row."""
        return self.c[self._names["rank"]]

    @property
    def is_match(self) -> ColumnElement[bool]:
        """Whether the pair is taken for the same thing; NULL where nothing can be said."""
        return self.c[self._names["is_match"]]

    @property
    def probability(self) -> ColumnElement[float]:
        """That the two rows are the same thing; NULL where nothing can be said."""
        return self.c[self._names["probability"]]

    @property
    def evidence(self) -> ColumnElement[list[str]]:
        """What speaks for the pair: dense, lexical, numbers, mutual and names of attributes."""
        return self.c[self._names["evidence"]]


class EntityPairs(Pairs, Generic[LeftT, RightT]):
    """Pairs of two mapped classes, or of one with itself."""

    inherit_cache = True
    _entities: tuple[Any, Any]
    _other: Again | None = None

    @property
    def left(self) -> type[LeftT]:
        """The left mapped class over these pairs."""
        if "_at_left" not in self.__dict__:
            self.__dict__["_at_left"] = calls.entity(self, self._entities[0])
        found: type[LeftT] = self.__dict__["_at_left"]
        return found

    @property
    def right(self) -> type[RightT]:
        """The right mapped class over these pairs."""
        if "_at_right" not in self.__dict__:
            self.__dict__["_at_right"] = calls.entity(self if self._other is None else self._other, self._entities[1])
        found: type[RightT] = self.__dict__["_at_right"]
        return found


class Again(Subquery):
    """The same pairs, with the right row as that in which a class finds itself: where both sides are of one table it would find each of
    its columns twice. Equal to the pairs, as SQLAlchemy's annotated elements are to what they are of, it is one with them in FROM.
    """

    inherit_cache = True
    _pairs: EntityPairs[Any, Any]

    def __hash__(self) -> int:
        return hash(self._pairs) if "_pairs" in self.__dict__ else id(self)

    def __eq__(self, other: object) -> bool:
        return hash(self) == hash(other)

    def __getstate__(self) -> dict[str, Any]:
        # a set is read back before the pairs are, and with another hash
        return {name: value for name, value in self.__dict__.items() if name not in ("_cloned_set", "_is_clone_of", "_generate_cache_key")}
