"""reading: the rows of a side in chunks of a bounded size: places, vectors, groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import errors, text, vectors
from pgembed.database import Database, Row
from pgembed.joining import memory
from pgembed.joining.sources import Source

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pgembed.joining.contract import Encode
    from pgembed.joins.pairing import Ints, Vectors

# What is fetched at a time: rows cost a Python object each until they are in an array.
FETCHED = 2000
FETCHED_BYTES = 1 << 20


class Places:
    """Texts that name rows, as one block of bytes: an eighth of what Python's own strings take."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._ends: list[npt.NDArray[np.int64]] = []
        self._starts: list[int] = []
        self._size = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self._size

    def add(self, texts: list[str]) -> None:
        """Append some."""
        import numpy as np

        encoded = [one.encode() for one in texts]
        self._starts.append(self._size)
        self._blocks.append(b"".join(encoded))
        self._ends.append(np.cumsum([len(one) for one in encoded], dtype=np.int64))
        self._size += len(texts)
        self.bytes += len(self._blocks[-1]) + 8 * len(texts)

    def at(self, positions: Ints) -> list[str]:
        """The texts at some positions."""
        import numpy as np

        out: list[str] = [""] * len(positions)
        which = np.searchsorted(np.asarray(self._starts), positions, side="right") - 1
        for block in np.unique(which).tolist():
            places = np.flatnonzero(which == block)
            own = positions[places] - self._starts[block]
            ends = self._ends[block]
            starts = np.where(own > 0, ends[np.maximum(own - 1, 0)], 0)
            data = self._blocks[block]
            for place, start, end in zip(places.tolist(), starts.tolist(), ends[own].tolist(), strict=True):
                out[place] = data[start:end].decode()
        return out


@dataclass(frozen=True)
class Chunk:
    """Some rows of a side.

    Attributes:
        start: number of the first, in the order of reading.
        vectors: float32 (n, dim); groups: int64 (n,), -1 for rows that are compared with none; None compares all.
        last: the side has no more rows.
    """

    start: int
    vectors: Vectors
    groups: Ints | None
    last: bool

    def __len__(self) -> int:
        return len(self.vectors)


class _Filled:
    """A chunk in the making; memory that is not written to yet takes none."""

    def __init__(self, rows: int, dim: int, grouped: bool) -> None:
        import numpy as np

        self.vectors: Vectors = np.empty((rows, dim), np.float32)
        self.groups: Ints | None = np.empty(rows, np.int64) if grouped else None

    def chunk(self, start: int, rows: int, last: bool) -> Chunk:
        """What is filled in; whoever has it is the only one who keeps it."""
        made = Chunk(start, self.vectors[:rows], None if self.groups is None else self.groups[:rows], last)
        self.vectors, self.groups = self.vectors[:0].copy(), None
        return made


class Reader:
    """A side from its first row to its last; may be read again, in the same order.

    Args:
        codes: what groups are numbered by, one for both sides.
    """

    def __init__(self, db: Database, source: Source, codes: dict[str, int], encode: Encode | None = None) -> None:
        self.db, self.source, self.codes, self.encode = db, source, codes, encode
        self.dim = source.column.dim if source.column is not None else None
        self.places = Places()
        self._kept: list[Vectors] = []  # of a side of texts: they are embedded once
        self._known = 0

    def statement(self) -> str:
        """The query that reads it: place, what is compared, group."""
        source = self.source
        if source.vector is not None:
            schema = source.column.vector_schema if source.column is not None else _schema(self.db)
            what, given = f"{schema}.vector_send({source.vector})", source.vector
        else:
            what = given = f"({source.text})"
        where = [f"{given} IS NOT NULL", *([f"({source.where})"] if source.where else [])]
        group = "" if source.group is None else f", {source.group} AS grp"
        return f"SELECT {source.place} AS place, {what} AS what{group} FROM {source.relation} AS {source.alias} WHERE {' AND '.join(where)}"

    def chunks(self, size: Callable[[int], int]) -> Iterator[Chunk]:
        """All rows in chunks; of each nothing is kept here once the next one is asked for.

        Args:
            size: dimensions -> rows of the next chunk; asked before each.
        Raises:
            errors.DimensionMismatch: vectors of different dimensions.
        """
        start, held, filled = 0, 0, _Filled(0, 0, False)
        for page, groups in self._pages():
            if self.dim is None:
                self.dim = page.shape[1]
            elif page.shape[1] != self.dim:
                raise self._mixed(self.dim, page.shape[1])
            at = 0
            while at < len(page):
                if held == len(filled.vectors):
                    if held:
                        yield filled.chunk(start, held, False)
                    start, held = start + held, 0
                    del filled  # before there is room for the next one
                    filled = _Filled(max(1, size(self.dim)), self.dim, groups is not None)
                take = min(len(page) - at, len(filled.vectors) - held)
                filled.vectors[held : held + take] = page[at : at + take]
                if groups is not None and filled.groups is not None:
                    filled.groups[held : held + take] = groups[at : at + take]
                held, at = held + take, at + take
        if not held:
            filled = _Filled(0, self.dim or 0, self.source.group is not None)
        yield filled.chunk(start, held, True)

    @staticmethod
    def _mixed(one: int, other: int) -> errors.DimensionMismatch:
        return errors.DimensionMismatch(
            f"vectors of {one} and of {other} dimensions are on one side of the join",
            hint="All vectors of a side must have the same number of dimensions.",
        )

    def _pages(self) -> Iterator[tuple[Vectors, Ints | None]]:
        """Vectors and groups of the rows that take part, a few thousand at a time."""
        first_time = not len(self.places)
        size = FETCHED if self.dim is None else max(1, min(FETCHED, FETCHED_BYTES // (4 * self.dim)))
        made = 0
        for rows in self.db.stream(self.statement(), self.source.types, self.source.values, size=size):
            if self.source.text is not None:
                rows = [row for row in rows if not text.is_empty(row["what"])]
                if not rows:
                    continue
            if first_time:
                self.places.add([row["place"] for row in rows])
            yield self._vectors(rows, made), self._groups(rows)
            made += 1

    def _vectors(self, rows: list[Row], page: int) -> Vectors:
        import numpy as np

        if self.source.text is None:
            sent = [row["what"] for row in rows]
            if len({len(one) for one in sent}) > 1:
                sizes = sorted({vectors.sent_dim(one) for one in sent})
                raise self._mixed(sizes[0], sizes[-1])
            return vectors.from_send_many(b"".join(sent), len(sent), vectors.sent_dim(sent[0]))
        if page < len(self._kept):
            return self._kept[page]
        if self.encode is None:
            raise errors.NotSupported("no model embeds the texts of this side", hint="Name an embedded column.")
        different: dict[str, int] = {}
        which = [different.setdefault(str(row["what"]), len(different)) for row in rows]
        made = np.ascontiguousarray(self.encode(list(different))[which], dtype=np.float32)
        self._kept.append(made)
        return made

    def _groups(self, rows: list[Row]) -> Ints | None:
        import numpy as np

        if self.source.group is None:
            return None
        codes = self.codes
        return np.asarray([-1 if row["grp"] is None else codes.setdefault(row["grp"], len(codes)) for row in rows], dtype=np.int64)

    @property
    def held(self) -> int:
        """Bytes that are kept of what was read: places, the vectors of texts."""
        return self.places.bytes + sum(one.nbytes for one in self._kept)


def _schema(db: Database) -> str:
    found: list[Any] = db.execute(
        "SELECT pg_catalog.quote_ident(n.nspname) AS schema FROM pg_catalog.pg_extension AS e"
        " JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) e.extnamespace WHERE e.extname OPERATOR(pg_catalog.=) 'vector'"
    )
    return str(found[0]["schema"])


def over(reader: Reader, most: int) -> errors.LimitExceeded:
    """The error for a side whose places alone do not fit."""
    return errors.LimitExceeded(
        f"the rows of one side take {memory.shown(reader.held)} to be named, and {memory.SETTING} is {memory.shown(most)}",
        hint=f"Give the side a primary key or make it a materialized view, join part of it, or SET {memory.SETTING} to more.",
    )
