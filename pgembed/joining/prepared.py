"""prepared: a join of which everything is known but the rows, the rows that it finds, and what is said of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pgembed.database import Database
from pgembed.joining.conditions import Conditions
from pgembed.joining.contract import Encode
from pgembed.joining.loading import Loaded
from pgembed.joining.options import Options
from pgembed.joining.sides import Form, Kind, Side

if TYPE_CHECKING:
    from pgembed import models
    from pgembed.joins.hybrid import Candidates
    from pgembed.joins.neighbours import Bools, Floats, Ints, Metric
    from pgembed.matching import Estimate
    from pgembed.matching.contract import Objects


@dataclass(frozen=True)
class Prepared:
    """A join of which everything is known but the rows.

    Attributes:
        same: both sides are one column of one table, where no row is its own partner.
        model: what embeds texts on the fly; None where nothing does.
        model_name: of the vectors that are compared; '' where none are, or where it is not known.
    """

    conditions: Conditions
    options: Options
    form: Form
    metric: Metric
    same: bool
    model: models.Model | None
    model_name: str = ""

    @property
    def left(self) -> Side:
        return self.conditions.left

    @property
    def right(self) -> Side:
        return self.conditions.right

    @property
    def show(self) -> str:
        """The join, for `pgembed.progress`."""
        return f"{self.left.label} ~ {self.right.label}"

    @property
    def kinds(self) -> list[Kind]:
        """Of each attribute the kind that both sides have; text where they differ."""
        both = zip(self.left.attributes, self.right.attributes, strict=True)
        return [one.kind if one.kind == other.kind else "text" for one, other in both]

    def encode(self, db: Database) -> Encode | None:
        """What makes vectors of texts."""
        model = self.model
        if model is None:
            return None
        return lambda texts: model.encode(texts, db.check_interrupts).vectors


@dataclass(frozen=True)
class Found:
    """The candidates of a join and the rows that they are of.

    Attributes:
        mutual: which candidates are among the k nearest of both their rows; None where nobody asked.
    """

    candidates: Candidates
    left: Loaded
    right: Loaded
    mutual: Bools | None = None


@dataclass(frozen=True)
class Said:
    """What is said of the pairs of a result.

    Attributes:
        chosen: places of the pairs among the candidates; all else is of these, in their order.
        threshold: NaN where nothing can be said, as the estimates are None.
    """

    chosen: Ints
    rank: Ints
    is_match: Objects
    probability: Floats
    evidence: list[str]
    threshold: float
    precision: Estimate | None
    recall: Estimate | None
    by: str = "the shape of the distances"
    notes: tuple[tuple[str, str], ...] = ()
