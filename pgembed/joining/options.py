"""options: what a caller asks of a semantic join, checked before anything is read."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from pgembed import errors

MAPPINGS = ("many", "one_to_one", "mutual")
CANDIDATES = ("dense", "lexical", "hybrid")
JOIN_TYPES = ("inner", "left", "anti")
HUB_CORRECTIONS = ("auto", "none", "soft", "best", "csls", "qb_norm")
# Those of which `pgembed.hubness` makes a number a row.
NUMBERED = ("csls", "qb_norm")
MOST_K = 100_000


@dataclass(frozen=True)
class Options:
    """The arguments of `pgembed.semantic_join` and its kin, but for the two tables.

    Attributes:
        attributes: name on the left and on the right of what is compared one by one; () where records are not.
        hubness: column of the right table with a number a row, as `pgembed.hubness` makes it by the method of hub_correction.
        params: JSON text of an object; None where there is none.
        labels: a table or view of labelled pairs, as regclass writes it.
    """

    left_column: str | None = None
    right_column: str | None = None
    k: int | None = 1
    max_distance: float | None = None
    mapping: str = "many"
    condition: str | None = None
    params: str | None = None
    precision: float | None = None
    recall: float | None = None
    labels: str | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    candidates: str = "dense"
    join_type: str = "inner"
    matches_only: bool = False
    not_equal: bool = False
    hub_correction: str = "auto"
    search_recall: float = 1.0
    hubness: str | None = None

    @property
    def is_drawn(self) -> bool:
        """Whether the caller has drawn the line itself: each row's nearest within max_distance is its match."""
        return self.max_distance is not None and self.precision is None and self.recall is None and self.labels is None

    @property
    def compares_texts(self) -> bool:
        """Whether texts are compared beside vectors."""
        return self.candidates != "dense" or self.labels is not None or bool(self.attributes)


def checked(
    left_column: str | None,
    right_column: str | None,
    k: int | None,
    max_distance: float | None,
    mapping: str | None,
    condition: str | None,
    params: str | None,
    precision: float | None,
    recall: float | None,
    labels: str | None,
    attributes: str | None,
    candidates: str | None,
    join_type: str | None,
    matches_only: bool | None,
    not_equal: bool | None,
    hub_correction: str | None,
    search_recall: float | None,
    hubness: str | None = None,
) -> Options:
    """The options as SQL hands them over; attributes and params are JSON texts, a NULL of matches_only or not_equal is false.

    Raises:
        errors.NullNotAllowed, errors.InvalidParameter: one is not what it may be, or two exclude each other.
    """
    mapping = _one_of("mapping", mapping, MAPPINGS)
    candidates = _one_of("candidates", candidates, CANDIDATES)
    join_type = _one_of("join_type", join_type, JOIN_TYPES)
    hub_correction = _one_of("hub_correction", hub_correction, HUB_CORRECTIONS)
    _check_k(k, max_distance, mapping, candidates)
    hub_correction = _numbered(hub_correction, hubness, candidates, k)
    if max_distance is not None and math.isnan(max_distance):
        raise errors.InvalidParameter("max_distance must be a number, not NaN", hint="Leave it out where there is no bound.")
    if precision is not None and recall is not None:
        raise errors.InvalidParameter(
            "both precision and recall are given, and one decides the other",
            hint="Ask for one; pgembed.explain_join() tells what the other is then.",
        )
    _check_share("precision", precision, "0.95 lets 5 of 100 matches be wrong.")
    _check_share("recall", recall, "0.95 lets 5 of 100 true matches be missed.")
    if search_recall is None:
        raise errors.NullNotAllowed("search_recall is NULL", hint="1 finds all nearest rows, and is the default.")
    if not 0 < search_recall <= 1:
        raise errors.InvalidParameter(
            f"search_recall must be above 0 and at most 1, not {search_recall:g}", hint="0.99 lets 1 of 100 nearest rows be missed."
        )
    return Options(
        left_column,
        right_column,
        k,
        max_distance,
        mapping,
        None if condition is None or not condition.strip() else condition,
        _object(params),
        precision,
        recall,
        labels,
        _attributes(attributes),
        candidates,
        join_type,
        bool(matches_only),
        bool(not_equal),
        hub_correction,
        search_recall,
        hubness,
    )


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> str:
    if value not in known:
        listed = f"{', '.join(known[:-1])} or {known[-1]}"
        raise errors.InvalidParameter(f"{name} must be {listed}, not {value or 'NULL'}", hint=f"{known[0]} is the default.")
    return str(value)


def _check_k(k: int | None, max_distance: float | None, mapping: str, candidates: str) -> None:
    told = "k is the number of right rows for each left row"
    if k is None:
        if max_distance is None:
            raise errors.NullNotAllowed("k is NULL", hint=f"{told}, 1 by default; with a max_distance NULL means all that are so near.")
        if candidates != "dense":
            raise errors.InvalidParameter(
                f"k is NULL, and candidates => '{candidates}' are counted, not bounded by a distance", hint=f"{told}, 1 by default."
            )
    elif not 1 <= k <= MOST_K:
        bound = "at least 1" if k < 1 else f"at most {MOST_K}"
        raise errors.InvalidParameter(f"k must be {bound}, not {k}", hint=f"{told}; NULL and a max_distance give all that are so near.")
    if mapping == "one_to_one" and k != 1:
        raise errors.InvalidParameter(
            f"a one-to-one mapping has one pair per row, but k is {'NULL' if k is None else k}",
            hint="Leave k at 1, or join with another mapping.",
        )


def _check_share(name: str, value: float | None, hint: str) -> None:
    if value is not None and not 0 < value < 1:
        raise errors.InvalidParameter(f"{name} must be between 0 and 1, not {value:g}", hint=hint)


def _numbered(hub_correction: str, hubness: str | None, candidates: str, k: int | None) -> str:
    """The correction, where numbers of a column are to be used or QB-Norm is asked for."""
    if hubness is not None:
        hub_correction = "csls" if hub_correction == "auto" else hub_correction
        if hub_correction not in NUMBERED:
            raise errors.InvalidParameter(
                f"hubness names a column, and hub_correction => '{hub_correction}' takes none",
                hint="pgembed.hubness() makes numbers for csls, its default, and for qb_norm: say the method that they were made by.",
            )
    elif hub_correction != "qb_norm":
        return hub_correction
    told = "hubness" if hubness is not None else "hub_correction => 'qb_norm'"
    if candidates != "dense":
        raise errors.InvalidParameter(
            f"{told} is of vectors alone, and candidates are {candidates}", hint="candidates => 'dense', or hub_correction => 'soft'."
        )
    if k is None:
        raise errors.InvalidParameter(
            f"k is NULL, and {told} changes which rows are nearest, not which are within max_distance", hint="Give k, or leave it out."
        )
    return hub_correction


def _object(params: str | None) -> str | None:
    if params is None:
        return None
    given = json.loads(params)
    if given is not None and not isinstance(given, dict):
        raise errors.InvalidParameter(
            f"params must be a JSON object, not {_kind(given)}",
            hint="""condition => $$ r.id > ($1->>'least')::int $$, params => '{"least": 15}'""",
        )
    return params


def _attributes(attributes: str | None) -> tuple[tuple[str, str], ...]:
    if attributes is None:
        return ()
    given = json.loads(attributes)
    pairs = list(given.items()) if isinstance(given, dict) else [(one, one) for one in given] if isinstance(given, list) else None
    if not pairs or not all(isinstance(name, str) for pair in pairs for name in pair):
        raise errors.InvalidParameter(
            f"attributes must be a JSON array of names, or an object of names, not {_kind(given) if pairs is None else attributes}",
            hint="""'["name", "price"]', or '{"title": "name", "cost": "price"}' where they have other names on the right.""",
        )
    if len({left for left, _ in pairs}) < len(pairs):
        raise errors.InvalidParameter(f"attributes name a column twice: {attributes}", hint="Name each once.")
    return tuple(pairs)


def _kind(given: object) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return kinds.get(type(given), "null")
