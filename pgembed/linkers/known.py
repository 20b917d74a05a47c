"""known: what was read of a linker's rows, kept so that a few changed rows can be read again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pgembed.linkers import reading
from pgembed.linkers.contract import Line, row_key
from pgembed.linking.contract import NIL, Facts, Knowledge
from pgembed.naming import words

if TYPE_CHECKING:
    from pgembed.database import Database
    from pgembed.linking.contract import Bools, Ints

Place = tuple[int, str]  # number of a target, key of a row there


@dataclass
class _Said:
    """The facts of one source: lists of one length."""

    row: list[int] = field(default_factory=list)
    relation: list[int] = field(default_factory=list)
    other: list[Place | None] = field(default_factory=list)
    text: list[str | None] = field(default_factory=list)

    def without(self, rows: set[int]) -> _Said:
        kept = [position for position, row in enumerate(self.row) if row not in rows]
        return _Said(
            [self.row[at] for at in kept],
            [self.relation[at] for at in kept],
            [self.other[at] for at in kept],
            [self.text[at] for at in kept],
        )


class Known:
    """The rows of a linker, by number; a number stays a row's own for good, and a row that is gone leaves it empty."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.places: list[Place] = []
        self.row_of: dict[Place, int] = {}
        self.gone: set[int] = set()
        self._names: list[str | None] = []
        self._aliases: list[tuple[str, ...]] = []
        self._types: list[tuple[str, ...]] = []
        self._context: list[str | None] = []
        self._relations: dict[str, int] = {}
        self._numbers: dict[str, int] = {}  # of relations as they are written
        self._called: dict[tuple[int, int], dict[int, tuple[str, ...]]] = {}  # of a table of aliases: row -> aliases
        self._said: dict[tuple[int, int], _Said] = {}

    def __len__(self) -> int:
        return len(self.places)

    def read(self, db: Database, some: Mapping[int, Iterable[str]] | None = None) -> list[int]:
        """Read all rows, or those of some keys again.

        Args:
            some: number of a target -> keys of its rows; rows that are no more, or not yet known, among them.
        Returns:
            The rows that were read or are gone, in order.
        """
        keys = None if some is None else {number: list(of) for number, of in some.items()}
        touched: set[int] = set()
        for target in self.line.targets:
            if keys is not None and not keys.get(target.number):
                continue
            wanted = None if keys is None else keys[target.number]
            if wanted is not None:
                for key in wanted:
                    row = self.row_of.get((target.number, key))
                    if row is not None:
                        self._forget(row)
                        touched.add(row)
            statement = reading.of_rows(target)
            seen: set[str] = set()
            for part in reading.rows(db, statement.all() if wanted is None else statement.some(target.table), wanted):
                reading.must_be_keys(target, [line["k"] for line in part], seen)
                touched.update(self._learn((target.number, line["k"]), line["x"]) for line in part)
        for target in self.line.targets:
            if keys is not None and not keys.get(target.number):
                continue
            for place, source in enumerate(target.sources):
                found = reading.of_source(self.line, target, source)
                wanted = None if keys is None else keys[target.number]
                at = (target.number, place)
                if wanted is not None:
                    again = {row for key in wanted if (row := self.row_of.get((target.number, key))) is not None}
                    if at in self._said:
                        self._said[at] = self._said[at].without(again)
                    for row in again:
                        self._called.get(at, {}).pop(row, None)
                for part in reading.rows(db, found.all() if wanted is None else found.some(target.table), wanted):
                    if source.kind == "alias":
                        self._call(at, part)
                    else:
                        self._say(at, part)
        return sorted(touched)

    def knowledge(self) -> Knowledge:
        """What linking needs of it."""
        names = list(self._names)
        aliases = list(self._aliases)
        for called in self._called.values():
            for row, others in called.items():
                aliases[row] = (*aliases[row], *others)
        whose: list[int] = []
        relation: list[int] = []
        other: list[int] = []
        text: list[str] = []
        for said in self._said.values():
            for at, which, to, value in zip(said.row, said.relation, said.other, said.text, strict=True):
                led = NIL if to is None else self.row_of.get(to, NIL)
                if led in self.gone:
                    led = NIL
                words_ = value if led == NIL else (names[led] or next(iter(aliases[led]), value))
                if led != NIL or words_:
                    whose.append(at)
                    relation.append(which)
                    other.append(led)
                    text.append(words_ or "")
        return Knowledge(
            keys=[row_key(*place) for place in self.places],
            names=names,
            aliases=aliases,
            types=list(self._types),
            context=list(self._context),
            relations=list(self._relations),
            facts=Facts(_ints(whose), _ints(relation), _ints(other), text),
        )

    def allowed(self) -> Bools | None:
        """Of each row whether it is there; None where all are."""
        if not self.gone:
            return None
        made = np.ones(len(self), dtype=np.bool_)
        made[sorted(self.gone)] = False
        return made

    def _learn(self, place: Place, found: str | None) -> int:
        name, aliases, types, context = reading.described(found)
        row = self.row_of.get(place)
        if row is None:
            row = self.row_of[place] = len(self.places)
            self.places.append(place)
            self._names.append(name)
            self._aliases.append(aliases)
            self._types.append(types)
            self._context.append(context)
        else:
            self._names[row], self._aliases[row], self._types[row], self._context[row] = name, aliases, types, context
            self.gone.discard(row)
        return row

    def _forget(self, row: int) -> None:
        self._names[row], self._aliases[row], self._types[row], self._context[row] = None, (), (), None
        self.gone.add(row)

    def _call(self, at: tuple[int, int], part: list[dict[str, str]]) -> None:
        called = self._called.setdefault(at, {})
        for line in part:
            row = self.row_of.get((at[0], line["k"]))
            if row is not None:
                called[row] = (*called.get(row, ()), line["v"])

    def _say(self, at: tuple[int, int], part: list[dict[str, str]]) -> None:
        said = self._said.setdefault(at, _Said())
        for line in part:
            row = self.row_of.get((at[0], line["k"]))
            if row is None or line["r"] is None:
                continue
            relation = self._numbers.get(line["r"])
            if relation is None:
                relation = self._numbers[line["r"]] = self._relations.setdefault(words(line["r"]), len(self._relations))
            said.row.append(row)
            said.relation.append(relation)
            said.other.append(None if line["n"] is None or line["o"] is None else (int(line["n"]), line["o"]))
            said.text.append(line["v"])


def _ints(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)
