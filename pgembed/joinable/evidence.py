"""evidence: what speaks for joining two columns. Pure functions of names, values and statistics."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

from pgembed.joinable.profiles import Profile

# Parts of a column's name that say what kind of value it holds, and not of what thing.
_GENERIC = frozenset(
    ("id", "key", "pk", "fk", "uuid", "guid", "code", "no", "nr", "num", "number", "name", "type", "value", "ref", "oid", "text", "title")
)
_GENERIC_WEIGHT = 0.2
_HUMP = re.compile(r"(?<=[^\W\dA-Z_])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])(?![A-Z]s\b|[A-Z]s_)")
_PARTS = re.compile(r"[^\W\d_]+|\d+")


def parts(name: str) -> frozenset[str]:
    """The words of a name in snake_case or CamelCase, lower case, without the plural's s: customer_ids -> customer, id."""
    found = set()
    for part in _PARTS.findall(_HUMP.sub(" ", name)):
        word = part.lower()
        if len(word) > 3 and word.endswith("ies"):
            word = word[:-3] + "y"
        elif len(word) > 4 and word.endswith(("sses", "xes", "ches", "shes")):
            word = word[:-2]
        elif len(word) > 2 and word.endswith("s") and not word.endswith("ss"):
            word = word[:-1]
        found.add(word)
    return frozenset(found)


def _alike(one: frozenset[str], other: frozenset[str]) -> float:
    """Weighted share of common words, where a word may stand for one that it begins (cust, customer)."""

    def weight(words: Iterable[str]) -> float:
        return sum(_GENERIC_WEIGHT if word in _GENERIC else 1.0 for word in words)

    same = one & other
    matched, whole = weight(same), weight(one | other)
    telling = any(word not in _GENERIC for word in same)
    for word in one - other:
        longer = [w for w in other - one if min(len(w), len(word)) >= 3 and (w.startswith(word) or word.startswith(w))]
        if longer:
            matched += 0.7
            whole -= weight([word])
            telling = True
    # where id alone agrees with id nothing is said
    return min(1.0, matched / whole if whole > 0 else 0.0) * (1.0 if telling else _GENERIC_WEIGHT)


def names(own: Profile, other: Profile) -> float:
    """How far the names say that two columns hold the same, 0 to 1: customer_id and customer.id do, id and id do not."""
    mine, theirs = parts(own.column), parts(other.column)
    best = _alike(mine, theirs)
    # a column that is called id is one of its table's; two of those are two tables' own
    if theirs <= _GENERIC and not mine <= _GENERIC and (own.oid != other.oid or parts(other.table) & mine):
        best = max(best, _alike(mine, parts(other.table) | theirs))
    if mine <= _GENERIC and not theirs <= _GENERIC and (own.oid != other.oid or parts(own.table) & theirs):
        best = max(best, _alike(parts(own.table) | mine, theirs))
    return best


def containment(own: Profile, other: Profile) -> tuple[float, float] | None:
    """Which share of one column's different values is among the other's, and how much that says.

    Frequent values and quantiles are a sample of the different values. Of a column of which all values are known it is a matter of
    looking them up. Of whole numbers it is estimated by how densely the other's lie there: between two quantiles is a known number of
    them. Of others, by how many values are in both samples, against how many would be if all were contained.

    Returns:
        The share, and the weight of it: 0 nothing, 1 as good as certain that it is no chance. None where nothing is known.
    """
    if not own.values or not other.values or not own.distinct or not other.distinct:
        return None
    theirs = set(other.values)
    hits = sum(value in theirs for value in own.values)
    if other.is_complete:
        share = hits / len(own.values)
        # a handful of values agrees by chance where they are numbers
        return share, _said(hits) * (0.15 if own.group == "integer" else 1.0)
    if own.group == "integer":
        dense = _density(own, other, theirs)
        return None if dense is None else (dense, 0.15)
    expected = len(own.values) * min(1.0, len(other.values) / other.distinct)
    if hits == 0 and expected < 3:
        return None
    return min(1.0, hits / max(expected, 1.0), min(1.0, other.distinct / own.distinct)), _said(hits)


def _said(hits: int) -> float:
    return 1.0 - 0.6**hits


def _density(own: Profile, other: Profile, theirs: set[str]) -> float | None:
    mine, bounds = _numbers(own.values), sorted(_numbers(other.values[other.frequent :]))
    if not mine:
        return None
    if len(bounds) < 2:
        return sum(str(value) in theirs for value in own.values) / len(mine)
    per_bin = max(1.0, (other.distinct or 0) - other.frequent) / (len(bounds) - 1)
    total = 0.0
    for text, value in zip(own.values, mine, strict=True):
        if text in theirs:
            total += 1
        elif bounds[0] <= value <= bounds[-1] and value == value.to_integral_value():
            at = min(bisect_right(bounds, value), len(bounds) - 1)
            total += min(1.0, per_bin / max(1.0, float(bounds[at] - bounds[at - 1])))
    return total / len(mine)


def _numbers(values: Iterable[str]) -> list[Decimal]:
    try:
        found = [Decimal(value) for value in values]
    except InvalidOperation:
        return []
    return found if all(value.is_finite() for value in found) else []


def shapes(own: Profile, other: Profile) -> float:
    """Share of one column's values that look like some of the other's: kinds of characters in their order, AB-12 like XY-7."""
    theirs = {shape(value) for value in other.values}
    return sum(shape(value) in theirs for value in own.values) / len(own.values) if own.values else 0.0


def shape(value: str) -> str:
    """Runs of letters become a, of digits 9, of blanks one blank; the rest stays."""
    return re.sub(r"\s+", " ", re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "9", value[:200])))
