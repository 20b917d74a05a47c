"""dense: vectors of embedded columns, as linking asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgembed import asking, catalogue, columns, errors, vectors
from pgembed.linkers.contract import Line, Target

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pgembed.columns import Column
    from pgembed.database import Database
    from pgembed.linkers.known import Known
    from pgembed.linking.contract import Dense

MOST_COMPARED = 5_000  # rows whose vectors are all compared with a text's


def column(db: Database, line: Line, target: Target) -> Column:
    """The embedded column that is the context of a target.

    Raises:
        errors.NotReady: it is gone.
    """
    known = columns.table(db, str(target.table.oid))[1]
    found = [one for one in known if one.name == target.context_column and one.type in columns.VECTOR_TYPES]
    if not found:
        raise errors.NotReady(
            f'linker "{line.name}" needs the embedded column "{target.context_column}" of table "{target.table.name}", which is gone',
            hint=f"SELECT pgembed.alter_linker('{line.name}', context => 'another column or expression'), or context => '' for none.",
        )
    return found[0]


def of(db: Database, line: Line, known: Known) -> ContextVectors | None:
    """The vectors that a linker's rows have; None where no target has a context of vectors.

    Raises:
        errors.NotReady: a column is gone, or two are of different spaces.
    """
    found = {target.number: column(db, line, target) for target in line.targets if target.context_column is not None}
    if not found:
        return None
    ways = {number: asking.way(db, one) for number, one in found.items()}
    first = next(iter(ways))
    for number, way in ways.items():
        if (way, found[number].fingerprint) != (ways[first], found[first].fingerprint):
            raise errors.NotReady(
                f'{found[number].label} and {found[first].label} hold vectors of different models, and linker "{line.name}" compares them',
                hint=f"CALL pgembed.change_model('{found[number].table.shown}', '{found[first].model}') brings one to the other's.",
            )
    return ContextVectors(db, line, known, found)


def still(db: Database, line: Line, vectors: Dense | None) -> bool:
    """Whether vectors that `of` returned for a linker are those of its columns as they are now: their model, adapter and names."""
    found = {target.number: column(db, line, target) for target in line.targets if target.context_column is not None}
    if not isinstance(vectors, ContextVectors):
        return not found
    return vectors.of_columns == _described(db, found)


def _described(db: Database, found: dict[int, Column]) -> dict[int, object]:
    return {
        number: (one.sql, one.type, one.operator, one.fingerprint, one.index_method, asking.way(db, one)) for number, one in found.items()
    }


class ContextVectors:
    """`linking.contract.Dense` over embedded columns: vectors are fetched for candidates only."""

    def __init__(self, db: Database, line: Line, known: Known, of_target: dict[int, Column]) -> None:
        self._db = db
        self._line = line
        self._known = known
        self._columns = of_target
        one = next(iter(of_target.values()))
        self._way = asking.way(db, one)
        self.of_columns = _described(db, of_target)
        self._dim = one.dim or catalogue.describe(db, one.model, one.fingerprint).dim
        self._space = str(one.fingerprint) + (f":{self._way.adapter}" if self._way.adapter else "")

    @property
    def space(self) -> str:
        """Fingerprint of the vectors, and digest of the map of queries where there is one."""
        return self._space

    def embed(self, texts: list[str]) -> npt.NDArray[np.float32]:
        """Embeddings of texts, float32 (n, dim)."""
        return asking.encode(self._db, self._way, texts).vectors

    def vectors(self, rows: list[int]) -> npt.NDArray[np.float32]:
        """Embeddings of rows, float32 (n, dim); zeros for a row that has none yet."""
        import numpy as np

        made = np.zeros((len(rows), self._dim), dtype=np.float32)
        for number, one in self._columns.items():
            table = self._line.target(number).table
            at = [place for place, row in enumerate(rows) if self._known.places[row][0] == number]
            if not at:
                continue
            found = self._db.execute(
                f"SELECT w.place, {one.vector_schema}.vector_send(t.{one.sql}{one.to_vector}) AS sent"
                f" FROM pg_catalog.unnest($1) WITH ORDINALITY AS w (k, place) JOIN {table.sql} AS t ON {table.key_matches('t', 'w.k')}"
                f" WHERE t.{one.sql} IS NOT NULL",
                ["pg_catalog.text[]"],
                [[self._known.places[rows[place]][1] for place in at]],
            )
            for row in found:
                made[at[row["place"] - 1]] = vectors.from_send(row["sent"])
        return made

    def nearest(self, vectors_: npt.NDArray[np.float32], k: int) -> list[list[int]]:
        """For each vector the k rows of each target nearest to it, as PostgreSQL finds them: by index where it likes.

        None of a large table without an index: reading all of its vectors takes more than these rows are worth.
        """
        near: list[list[int]] = [[] for _ in vectors_]
        for number, one in self._columns.items():
            if one.index_method is None and sum(place[0] == number for place in self._known.places) > MOST_COMPARED:
                continue
            cast = one.from_vector
            table = self._line.target(number).table
            found = self._db.execute(
                "SELECT q.position, n.k FROM pg_catalog.unnest($1) WITH ORDINALITY AS q (image, position)"
                f" CROSS JOIN LATERAL (SELECT {table.key_text('t')} AS k FROM {table.sql} AS t"
                f" WHERE t.{one.sql} IS NOT NULL ORDER BY t.{one.sql} {one.operator} pgembed._vector(q.image){cast} LIMIT $2) AS n",
                ["pg_catalog.bytea[]", "pg_catalog.int4"],
                [vectors.to_images(vectors_), k],
            )
            for row in found:
                at = self._known.row_of.get((number, row["k"]))
                if at is not None:
                    near[row["position"] - 1].append(at)
        return near
