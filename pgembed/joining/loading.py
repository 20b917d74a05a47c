"""loading: all that is compared of one side, in arrays: for joins that look at texts, labels or pairs beside distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed import text, vectors
from pgembed.database import Database
from pgembed.joining.contract import Encode
from pgembed.joining.sides import Kind, Side
from pgembed.rows import PAGE, PAGE_BYTES

if TYPE_CHECKING:
    from pgembed.joins.neighbours import Floats, Ints, Vectors


@dataclass(frozen=True)
class Loaded:
    """The rows of a side that take part, in the order in which they were read; all lists of one length.

    Attributes:
        vectors: float32 (n, dim); rows without one are zeros; None where nothing is compared by vectors. Of a side of chunks there is one
            for each chunk.
        has: whether the row has a vector.
        texts: '' where there is none; [] where no texts are compared.
        groups: [] where all are compared with all.
        keys: [] where nobody asked.
        attributes: of each attribute its values as text.
        alone: places of the other rows, where a join must give them too.
        hubness: of each row, NaN where it has none; None where no column was named.
        owners: of each vector the row that it is of; None where a row has one.
    """

    places: list[str]
    vectors: Vectors | None
    has: list[bool]
    texts: list[str]
    groups: list[str]
    keys: list[str]
    attributes: list[list[str | None]]
    alone: list[str]
    owners: Ints | None = None
    hubness: Floats | None = None

    def __len__(self) -> int:
        return len(self.places)

    @property
    def rows(self) -> Ints:
        """Of each vector the row that it is of."""
        import numpy as np

        return np.arange(len(self)) if self.owners is None else self.owners


def load(
    db: Database,
    side: Side,
    encode: Encode | None,
    *,
    dense: bool = True,
    words: bool = False,
    kinds: Sequence[Kind] = (),
    keys: bool = False,
    whole: bool = False,
) -> Loaded:
    """Read a side.

    Args:
        encode: texts -> vectors, for a side of texts.
        dense: vectors are compared.
        words: texts are compared word by word; rows that have neither text nor vector take no part.
        kinds: of the side's attributes, as both sides have them.
        keys: the rows' keys too, as text.
        whole: places of rows that take no part too.
    """
    source = side.source
    where = f"({source.where})" if source.where else "true"
    known = {
        "place": source.place,
        "vector": _vector(side) if dense else None,
        "text": source.text if dense else None,
        "words": side.words if words else None,
        "key": side.key if keys else None,
        "grp": source.group,
        "hubness": side.hubness if dense else None,
        **{f"attribute{position}": one.value(kind) for position, (one, kind) in enumerate(zip(side.attributes, kinds, strict=True))},
    }
    columns = {name: expression for name, expression in known.items() if expression is not None}
    # what of a row that takes no part is evaluated is its place alone
    listed = [
        f"{expression} AS {name}" if name == "place" or not whole else f"CASE WHEN {where} THEN {expression} END AS {name}"
        for name, expression in columns.items()
    ]
    listed.append(f"({where}) IS TRUE AS takes_part" if whole else "true AS takes_part")
    dim = side.embedded.dim if side.embedded is not None else None
    page = max(1, min(PAGE, PAGE_BYTES // (4 * (dim or 2000))))
    gathered = [
        "pg_catalog.string_agg(s.vector, ''::pg_catalog.bytea) AS vector, pg_catalog.array_agg(s.vector IS NOT NULL) AS has,"
        " pg_catalog.array_agg(pg_catalog.octet_length(s.vector)) AS sizes"
        if name == "vector"
        else f"pg_catalog.array_agg(s.{name}) AS {name}"
        for name in [*columns, "takes_part"]
    ]
    statement = (
        f"SELECT {', '.join(gathered)} FROM (SELECT {', '.join(listed)}, pg_catalog.row_number() OVER () OPERATOR(pg_catalog./) {page}"
        f" AS page FROM {source.relation} AS {source.alias}{'' if whole or not source.where else f' WHERE {where}'}) AS s"
        " GROUP BY s.page ORDER BY s.page"
    )
    read = _Read(len(kinds), source.chunks is not None and dense, dim or 0)
    for found in db.execute(statement, list(source.types), list(source.values)):
        read.take({name: found[name] for name in found}, dense)
    return read.finished(db, encode, dense)


def _vector(side: Side) -> str | None:
    """SQL of the vector of a row, or of those of its chunks, as it is sent."""
    if side.source.chunks is not None or side.source.vector is None or side.embedded is None:
        return side.source.chunks
    return f"{side.embedded.vector_schema}.vector_send({side.source.vector})"


class _Read:
    """Pages of a side, being put together."""

    def __init__(self, attributes: int, chunked: bool, dim: int) -> None:
        self.chunked, self.dim = chunked, dim
        self.counts: list[int] = []
        self.places: list[str] = []
        self.alone: list[str] = []
        self.has: list[bool] = []
        self.made: list[str | None] = []
        self.texts: list[str] = []
        self.groups: list[str] = []
        self.keys: list[str] = []
        self.hubness: list[float | None] | None = None
        self.attributes: list[list[str | None]] = [[] for _ in range(attributes)]
        self.parts: list[Vectors] = []

    def take(self, page: dict[str, object], dense: bool) -> None:
        """Add the rows of a page that take part."""
        columns = {name: values for name, values in page.items() if isinstance(values, list)}
        size = len(columns["place"])
        has = columns.get("has") or [not text.is_empty(one or "") for one in columns.get("text") or [None] * size]
        words, groups = columns.get("words"), columns.get("grp")
        compared = [
            bool(part)
            and (has[i] or (words is not None and not text.is_empty(words[i] or "")))
            and (groups is None or groups[i] is not None)
            for i, part in enumerate(columns["takes_part"])
        ]
        rows = [i for i in range(size) if compared[i]]
        self.alone += [columns["place"][i] for i in range(size) if not compared[i]]
        self.places += [columns["place"][i] for i in rows]
        self.has += [has[i] for i in rows]
        for name, kept in (("text", self.made), ("grp", self.groups), ("key", self.keys)):
            if name in columns:
                kept += [columns[name][i] for i in rows]
        if "hubness" in columns:
            self.hubness = (self.hubness or []) + [columns["hubness"][i] for i in rows]
        if words is not None:
            self.texts += [words[i] or "" for i in rows]
        for position, one in enumerate(self.attributes):
            one += [columns[f"attribute{position}"][i] for i in rows]
        if dense and "has" in columns:
            if self.chunked:
                self._take_chunks(page.get("vector"), columns["sizes"], rows)
            else:
                self._take_vectors(page.get("vector"), has, rows)

    def _take_vectors(self, sent: object, has: list[bool], rows: list[int]) -> None:
        import numpy as np

        n = sum(has)
        if not isinstance(sent, bytes) or not n:
            self.parts.append(np.zeros((len(rows), 0), dtype=np.float32))
            return
        made = vectors.from_send_many(sent, n, (len(sent) // n - 4) // 4)
        place = np.cumsum(has) - 1
        kept = np.zeros((len(rows), made.shape[1]), dtype=np.float32)
        with_vector = [at for at, row in enumerate(rows) if has[row]]
        kept[with_vector] = made[place[[rows[at] for at in with_vector]]]
        self.parts.append(kept)

    def _take_chunks(self, sent: object, sizes: list[int | None], rows: list[int]) -> None:
        import numpy as np

        counts = np.asarray([size or 0 for size in sizes], dtype=np.int64) // (4 + 4 * self.dim)
        self.counts += counts[rows].tolist()
        if isinstance(sent, bytes) and len(sent):
            made = vectors.from_send_many(sent, int(counts.sum()), self.dim)
            taking = np.zeros(len(counts), dtype=bool)
            taking[rows] = True
            self.parts.append(made[np.repeat(taking, counts)])

    def finished(self, db: Database, encode: Encode | None, dense: bool) -> Loaded:
        """What was read, with the vectors of texts made, each text once."""
        import numpy as np

        if self.made:
            assert encode is not None
            distinct: dict[str, int] = {}
            which = [distinct.setdefault(str(one), len(distinct)) if has else -1 for one, has in zip(self.made, self.has, strict=True)]
            made = encode(list(distinct)) if distinct else np.zeros((0, 0), dtype=np.float32)
            matrix = np.zeros((len(which), made.shape[1]), dtype=np.float32)
            filled = [at for at, one in enumerate(which) if one >= 0]
            matrix[filled] = made[[which[at] for at in filled]]
        else:
            dim = max((part.shape[1] for part in self.parts), default=0)
            # a page of rows without any vector has no dimension of its own
            parts = [part if part.shape[1] else np.zeros((len(part), dim), dtype=np.float32) for part in self.parts]
            matrix = np.concatenate(parts) if parts else np.zeros((len(self.places), dim), dtype=np.float32)
        db.check_interrupts()
        owners = None
        if self.chunked:
            owners = np.repeat(np.arange(len(self.places)), self.counts)
            matrix = np.concatenate(self.parts) if self.parts else np.zeros((0, self.dim), dtype=np.float32)
        hubness = None if self.hubness is None else np.asarray(self.hubness, dtype=np.float64)
        kept = matrix if dense else None
        return Loaded(self.places, kept, self.has, self.texts, self.groups, self.keys, self.attributes, self.alone, owners, hubness)
