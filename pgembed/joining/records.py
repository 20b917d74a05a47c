"""records: attributes of rows as PostgreSQL writes them, read as values of their kinds."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pgembed.joining.loading import Loaded
from pgembed.joining.sides import Attribute, Kind

if TYPE_CHECKING:
    from pgembed.joins.neighbours import Check, Ints
    from pgembed.matching.attributes import Features

_EPOCH = datetime.datetime(1970, 1, 1)  # of the session's own zone: two columns are compared with each other


def compared(
    attributes: Sequence[Attribute], kinds: Sequence[Kind], left: Loaded, right: Loaded, at: tuple[Ints, Ints], check: Check | None
) -> Features:
    """Compare pairs of rows attribute by attribute.

    Args:
        at: positions of the pairs on the left and on the right.
    """
    from pgembed.matching import attributes as matching

    both = zip(attributes, kinds, left.attributes, right.attributes, strict=True)
    typed = [matching.Attribute(one.name, kind, values(kind, here), values(kind, there)) for one, kind, here, there in both]
    return matching.compare(typed, *at, check=check)


def values(kind: Kind, texts: Sequence[str | None]) -> list[object]:
    """Values of a kind; None where there is none, or none that can be compared, such as infinity."""
    read: dict[str, Callable[[str], object]] = {
        "number": _number,
        "date": _date,
        "boolean": lambda text: text == "true",
        "array": json.loads,
    }
    return [None if text is None else read.get(kind, str)(text) for text in texts]


def _number(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _date(text: str) -> datetime.datetime | None:
    try:
        return _EPOCH + datetime.timedelta(seconds=float(text))
    except OverflowError:  # before Christ, or infinite
        return None
