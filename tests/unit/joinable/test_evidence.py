"""What speaks for joining two columns: names, values, ranges, shapes."""

from __future__ import annotations

from typing import Any

import pytest

from pgembed.joinable import evidence
from pgembed.joinable.profiles import Profile


def column(table: str, name: str, values: tuple[str, ...] = (), **other: Any) -> Profile:
    given: dict[str, Any] = {
        "oid": hash(table) % 10_000,
        "shown": table,
        "schema": "public",
        "table": table,
        "column": name,
        "group": "text",
        "rows": 1000.0,
        "pages": 10,
        "distinct": float(len(values)),
        "width": 8.0,
        "values": values,
        "frequent": len(values),
        "is_complete": True,
        "is_unique": False,
        "comment": None,
        "refers": frozenset(),
        "known": True,
        "guarded": False,
    }
    return Profile(**(given | other))


@pytest.mark.parametrize(
    ("own", "other", "least", "most"),
    [
        (("orders", "customer_id"), ("customers", "id"), 0.9, 1.0),
        (("orders", "customerId"), ("Customer", "id"), 0.9, 1.0),
        (("orders", "cust"), ("customers", "id"), 0.5, 1.0),
        (("orders", "id"), ("customers", "id"), 0.0, 0.25),
        (("orders", "name"), ("customers", "name"), 0.0, 0.25),
        (("orders", "country_code"), ("country", "code"), 0.9, 1.0),
        (("customers", "id"), ("orders", "customer_id"), 0.9, 1.0),
        (("orders", "quantity"), ("customers", "id"), 0.0, 0.1),
    ],
)
def test_names(own: tuple[str, str], other: tuple[str, str], least: float, most: float) -> None:
    assert least <= evidence.names(column(*own), column(*other)) <= most


def test_words_of_names() -> None:
    assert evidence.parts("customerID_2") == evidence.parts("customer_ids_2") == {"customer", "id", "2"}
    assert evidence.parts("addresses") == {"address"}
    assert evidence.parts("COUNTRIES") == {"country"}
    assert evidence.parts("Straße") == {"straße"}


def test_all_values_known_are_looked_up() -> None:
    found = evidence.containment(column("a", "x", ("red", "blue", "pink")), column("b", "y", ("red", "blue", "green", "black")))
    assert found is not None
    assert found[0] == pytest.approx(2 / 3)
    assert found[1] > 0.5


def test_samples_that_would_meet_and_do_not_say_no_and_small_ones_nothing() -> None:
    mine = column("a", "x", tuple(f"a{i}" for i in range(200)), distinct=200.0)
    theirs = {"frequent": 0, "is_complete": False}
    many = column("b", "y", tuple(f"b{i}" for i in range(100)), distinct=1_000.0, **theirs)
    assert evidence.containment(mine, many) == (0.0, 0.0)
    assert evidence.containment(mine, column("b", "y", tuple(f"b{i}" for i in range(100)), distinct=1e6, **theirs)) is None
    meeting = column("b", "y", tuple(f"a{2 * i}" for i in range(100)), distinct=200.0, **theirs)
    found = evidence.containment(mine, meeting)
    assert found is not None
    assert found[0] == pytest.approx(1.0)


def test_whole_numbers_by_how_densely_they_lie() -> None:
    bounds = {"group": "integer", "frequent": 0, "is_complete": False, "is_unique": True}
    key = column("b", "id", tuple(str(i) for i in range(1, 1002, 10)), distinct=1001.0, **bounds)
    inside = column("a", "b_id", tuple(str(i) for i in range(3, 900, 7)), **{**bounds, "distinct": 300.0})
    beyond = column("a", "price", tuple(str(i) for i in range(500, 100_000, 900)), **{**bounds, "distinct": 5000.0})
    sparse = column("c", "id", tuple(str(i) for i in range(1, 1_000_000, 10_000)), **{**bounds, "distinct": 1000.0})
    shares = [evidence.containment(inside, key), evidence.containment(beyond, key), evidence.containment(inside, sparse)]
    assert [share[0] if share else None for share in shares] == [
        pytest.approx(1.0, abs=0.05),
        pytest.approx(0.0, abs=0.05),
        pytest.approx(0.0, abs=0.05),
    ]
    assert all(share is not None and share[1] <= 0.15 for share in shares), "numbers agree by chance"


def test_shapes() -> None:
    assert evidence.shape("SKU-00123 b") == "a-9 a"
    assert evidence.shapes(column("a", "x", ("AB-1", "C-22")), column("b", "y", ("XYZ-9",))) == 1.0
    assert evidence.shapes(column("a", "x", ("AB-1", "C 22")), column("b", "y", ("XYZ-9",))) == 0.5
