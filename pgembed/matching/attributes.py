"""Records compared attribute by attribute, each by its type."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from pgembed.errors import InvalidParameter
from pgembed.matching import texts
from pgembed.matching.contract import Floats, Ints
from pgembed.matching.texts import Check

Kind = Literal["text", "number", "date", "boolean", "enum", "array"]
KINDS: tuple[str, ...] = get_args(Kind)

# What each kind is compared by; the sign says whether more of it speaks for the two being the same, 0 that nobody can know beforehand.
MEASURES: dict[str, dict[str, int]] = {
    "text": dict.fromkeys(texts.MEASURES, 1) | {"left_rarest": -1, "right_rarest": -1},
    "number": {"equal": 1, "relative": -1, "scaled": -1},
    "date": {"equal": 1, "days": -1, "scaled": -1},
    "boolean": {"equal": 1},
    "enum": {"equal": 1},
    "array": {"equal": 1, "overlap": 1, "contained": 1},
}
# From here on an attribute counts as agreeing, in the evidence that a pair is shown with.
_AGREES = {"text": ("words", 0.5), "array": ("overlap", 0.5)}
# Numbers that differ by less are the same number, written or rounded otherwise.
_RELATIVE = 1e-6


@dataclass(frozen=True)
class Attribute:
    """One attribute of both sides.

    Attributes:
        name: what it is called in names of features and in evidence.
        kind: how it is compared: text | number | date | boolean | enum | array.
        left, right: each row's value, None for NULL. text and enum: str; number: int, float or Decimal; date: date or datetime;
            boolean: bool; array: a sequence of anything that can be printed.
    """

    name: str
    kind: Kind
    left: Sequence[object]
    right: Sequence[object]


@dataclass(frozen=True)
class Features:
    """What is known of listed pairs.

    Attributes:
        names: what each column is, "attribute.measure".
        values: (pairs, names) float32, NaN where a side is NULL or has nothing to compare.
        signs: for each column 1 where more speaks for a match, -1 against, 0 where that is not known.
        agreed: for each attribute whether it agrees in a pair; False where it is not known.
    """

    names: tuple[str, ...]
    values: npt.NDArray[np.float32]
    signs: tuple[int, ...]
    agreed: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)

    def beside(self, other: Features) -> Features:
        """These columns and another's."""
        return Features(
            self.names + other.names, np.hstack([self.values, other.values]), self.signs + other.signs, {**self.agreed, **other.agreed}
        )


def compare(attributes: Sequence[Attribute], left: Ints, right: Ints, *, check: Check | None = None) -> Features:
    """Compare listed pairs of rows, attribute by attribute.

    Args:
        attributes: at least one; several texts are also compared all together, under the name "record", because what one table
            writes into the name stands in the other's description.
        left, right: the pairs, positions on each side.
        check: called between blocks of work, may raise to interrupt.
    Returns:
        Features of the pairs. A value that is NULL on either side gives NaN, never 0: unknown is not different.
        Text measures are those of `texts.compare`. number: equal within a millionth; relative = |a - b| / max(|a|, |b|), between 0 and
        2; scaled = |a - b| over the spread of both columns (the distance between their quartiles), as ln(1 + x). date: days apart as
        ln(1 + x), timestamps with their fraction; scaled as for numbers. array: overlap = shared / all different elements;
        contained = shared / elements of the smaller. Elements are compared as folded text.
    Raises:
        InvalidParameter: no attribute, a name twice, an unknown kind, a value of another type than the kind says.
    """
    _checked(attributes)
    columns = [_compared(attribute, left, right, check) for attribute in attributes]
    written = [attribute for attribute in attributes if attribute.kind == "text"]
    if len(written) > 1:
        sides = [
            [" ".join(value for value in row if isinstance(value, str)) for row in zip(*side, strict=True)]
            for side in ([attribute.left for attribute in written], [attribute.right for attribute in written])
        ]
        record = _compared(Attribute("record", "text", *sides), left, right, check)
        columns.append(Features(record.names, record.values, record.signs))
    whole = columns[0]
    for column in columns[1:]:
        whole = whole.beside(column)
    return whole


def _checked(attributes: Sequence[Attribute]) -> None:
    if not attributes:
        raise InvalidParameter(
            "records need at least one attribute to be compared by, and none is given", hint="Name columns of both sides."
        )
    names = [attribute.name for attribute in attributes]
    for name in names:
        if names.count(name) > 1:
            raise InvalidParameter(f'attribute "{name}" is given {names.count(name)} times', hint="Name each attribute once.")
    for attribute in attributes:
        if attribute.kind not in KINDS:
            raise InvalidParameter(
                f'attribute "{attribute.name}" is of an unknown kind "{attribute.kind}"', hint=f"The kinds are {', '.join(KINDS)}."
            )


def _compared(attribute: Attribute, left: Ints, right: Ints, check: Check | None) -> Features:
    measures = MEASURES[attribute.kind]
    match attribute.kind:
        case "text":
            values = texts.compare(_texts(attribute, attribute.left), _texts(attribute, attribute.right), left, right, check)
        case "number" | "date":
            values = _numbers(_numeric(attribute, attribute.left), _numeric(attribute, attribute.right), left, right, attribute.kind)
        case "boolean" | "enum":
            values = _equal(attribute, left, right)
        case "array":
            values = _arrays(attribute, left, right)
    names = tuple(f"{attribute.name}.{measure}" for measure in measures)
    measure, least = _AGREES.get(attribute.kind, ("equal", 1.0))
    agreed = np.nan_to_num(values[:, list(measures).index(measure)]) >= least
    return Features(names, values.astype(np.float32), tuple(measures.values()), {attribute.name: agreed})


def _texts(attribute: Attribute, values: Sequence[object]) -> list[str | None]:
    for value in values:
        if value is not None and not isinstance(value, str):
            raise _wrong(attribute, value)
    return [value if isinstance(value, str) else None for value in values]


def _wrong(attribute: Attribute, value: object) -> InvalidParameter:
    return InvalidParameter(
        f'attribute "{attribute.name}" is compared as {attribute.kind}, but a value of it is a Python {type(value).__name__}',
        hint="Both sides' columns must be of the same kind; cast one of them.",
    )


def _numeric(attribute: Attribute, values: Sequence[object]) -> Floats:
    """Numbers as they are, dates and timestamps in days; NULL and what is not finite as NaN."""
    numbers = np.full(len(values), np.nan)
    for at, value in enumerate(values):
        if value is None:
            continue
        try:
            numbers[at] = _days(value) if attribute.kind == "date" else float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            raise _wrong(attribute, value) from None
    numbers[~np.isfinite(numbers)] = np.nan
    return numbers


def _days(value: object) -> float:
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.UTC)
        return value.toordinal() + (value.hour * 3600 + value.minute * 60 + value.second + value.microsecond * 1e-6) / 86400
    if isinstance(value, datetime.date):
        return float(value.toordinal())
    raise TypeError


def _numbers(one: Floats, other: Floats, left: Ints, right: Ints, kind: str) -> Floats:
    a, b = one[left], other[right]
    apart = np.abs(a - b)
    every = np.concatenate([one, other])
    every = every[~np.isnan(every)]
    spread = float(np.subtract(*np.percentile(every, [75, 25]))) if len(every) else 0.0
    if spread == 0.0:
        spread = float(np.ptp(every)) if len(every) else 0.0
    scaled = np.log1p(apart / spread) if spread > 0.0 else np.where(np.isnan(apart), np.nan, 0.0)
    largest = np.maximum(np.abs(a), np.abs(b))
    if kind == "date":
        return np.column_stack([np.where(np.isnan(apart), np.nan, apart < 1e-9), np.log1p(apart), scaled])
    relative = np.where(largest > 0.0, apart / np.where(largest > 0.0, largest, 1.0), np.where(np.isnan(apart), np.nan, 0.0))
    return np.column_stack([np.where(np.isnan(apart), np.nan, relative <= _RELATIVE), relative, scaled])


def _equal(attribute: Attribute, left: Ints, right: Ints) -> Floats:
    numbers: dict[object, int] = {}

    def codes(values: Sequence[object]) -> Ints:
        out = np.full(len(values), -1, dtype=np.int64)
        for at, value in enumerate(values):
            if value is None:
                continue
            if not isinstance(value, bool if attribute.kind == "boolean" else str):
                raise _wrong(attribute, value)
            out[at] = numbers.setdefault(texts.folded(value) if isinstance(value, str) else value, len(numbers))
        return out

    a, b = codes(attribute.left)[left], codes(attribute.right)[right]
    return np.where((a < 0) | (b < 0), np.nan, a == b)[:, None]


def _arrays(attribute: Attribute, left: Ints, right: Ints) -> Floats:
    sides: list[list[frozenset[str] | None]] = []
    for values in (attribute.left, attribute.right):
        side: list[frozenset[str] | None] = []
        for value in values:
            if value is not None and (isinstance(value, str | bytes) or not isinstance(value, Sequence)):
                raise _wrong(attribute, value)
            side.append(None if value is None else frozenset(_element(element) for element in value if element is not None))
        sides.append(side)
    out = np.full((len(left), 3), np.nan)
    for at, (row, other) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
        one, two = sides[0][row], sides[1][other]
        if one is None or two is None:
            continue
        common = len(one & two)
        fewer, union = min(len(one), len(two)), len(one | two)
        out[at] = one == two, common / union if union else 1.0, common / fewer if fewer else float(one == two)
    return out


def _element(value: object) -> str:
    return texts.folded(value) if isinstance(value, str) else json.dumps(value, default=str, sort_keys=True)
