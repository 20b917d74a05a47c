from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pytest

from pgembed.errors import InvalidParameter
from pgembed.matching import attributes, texts
from pgembed.matching.attributes import Attribute, Features, compare


def one(kind: str, left: object, right: object, *others: object) -> dict[str, float]:
    """The measures of one pair; others are further values of both columns."""
    attribute = Attribute("x", kind, [left, *others], [right, *others])  # type: ignore[arg-type]
    found = compare([attribute], np.array([0]), np.array([0]))
    return {name.partition(".")[2]: float(value) for name, value in zip(found.names, found.values[0], strict=True)}


def measures(left: list[str | None], right: list[str | None], pairs: list[tuple[int, int]]) -> dict[str, list[float]]:
    at = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    value = texts.compare(left, right, at[:, 0], at[:, 1])
    return {name: value[:, column].tolist() for column, name in enumerate(texts.MEASURES)}


@pytest.mark.parametrize("kind", attributes.KINDS)
def test_null_is_unknown_never_different(kind: str) -> None:
    value = {
        "text": "a b",
        "number": 1,
        "date": datetime.date(2020, 1, 1),
        "boolean": True,
        "enum": "red",
        "array": ["a"],
    }[kind]
    for left, right in ((None, value), (value, None), (None, None)):
        assert all(np.isnan(list(one(kind, left, right).values())))
    assert one(kind, value, value)["equal"] == 1.0


def test_numbers_by_their_own_scale() -> None:
    near = one("number", 100, Decimal(110), 0, 50, 200)
    assert near["relative"] == pytest.approx(10 / 110)
    assert near["equal"] == 0.0
    # The same step is small in a column of thousands.
    assert one("number", 100, 110, 0, 5_000, 20_000)["scaled"] < near["scaled"]
    assert one("number", 0, 0)["relative"] == 0.0
    assert one("number", 0.1 + 0.2, 0.3)["equal"] == 1.0
    assert one("number", -5, 5)["relative"] == pytest.approx(2.0)
    assert np.isnan(one("number", float("nan"), 1)["relative"])
    assert np.isnan(one("number", float("inf"), 1)["relative"])


def test_dates_and_timestamps_in_days() -> None:
    assert one("date", datetime.date(2020, 1, 1), datetime.date(2020, 1, 3))["days"] == pytest.approx(np.log(3))
    noon = datetime.datetime(2020, 1, 1, 12)
    assert one("date", noon, datetime.date(2020, 1, 1))["days"] == pytest.approx(np.log(1.5))
    assert one("date", noon, noon)["equal"] == 1.0
    east = datetime.datetime(2020, 1, 1, 14, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))
    assert one("date", east, datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.UTC))["equal"] == 1.0


def test_booleans_enums_arrays() -> None:
    assert one("boolean", True, False)["equal"] == 0.0
    assert one("enum", "Straße", "STRASSE")["equal"] == 1.0
    assert one("array", ["a", "b", "c"], ["B", "d"]) == pytest.approx({"equal": 0.0, "overlap": 0.25, "contained": 0.5})
    assert one("array", [], [])["overlap"] == 1.0
    assert one("array", [], ["a"])["contained"] == 0.0
    assert one("array", [1, None], [1])["equal"] == 1.0


def test_texts_differ_in_what_is_rare() -> None:
    left: list[str | None] = ["sony camera dsc-100", "sony camera dsc-200", *(f"sony camera {i}" for i in range(40))]
    right: list[str | None] = ["sony camera dsc100", "camera sony dsc-100 black case"]
    found = measures(left, right, [(0, 0), (1, 0), (0, 1), (1, 1)])
    assert found["codes_found"] == pytest.approx([1.0, 0.0, 1.0, 0.0])
    assert found["codes"][0] > 0.9 > 0.1 > found["codes"][1]
    assert found["words"][2] > found["words"][3]
    assert found["contained"][2] == pytest.approx(1.0)
    assert found["containing"][2] < 1.0
    assert found["left_rarest"][2] == 0.0 < found["right_rarest"][2] <= 1.0


def test_initials_agree_with_the_names_they_begin() -> None:
    found = measures(
        ["m. stonebraker", "p. stonebraker", "j. m. hellerstein"], ["michael stonebraker", "joseph hellerstein"], [(0, 0), (1, 0), (2, 1)]
    )
    assert found["initials"] == pytest.approx([1.0, 0.5, 1.0])
    assert measures(["john smith"], ["jane smith"], [(0, 0)])["initials"] == [0.5]


def test_texts_against_plain_dictionaries() -> None:
    rng = np.random.default_rng(0)
    left, right = ([" ".join(f"w{word}x" for word in rng.integers(0, 30, rng.integers(1, 9))) for _ in range(25)] for _ in range(2))
    pairs = [(a, b) for a in range(25) for b in range(25)]
    tokenised = [texts.tokens.words(text) for text in left + right]
    every = [set(row) for row in tokenised]
    rarity = {word: np.log(51 / (1 + sum(word in row for row in every))) for word in set().union(*every)}
    weight = [{word: (1 + np.log(row.count(word))) * (1 + rarity[word]) for word in row} for row in tokenised]
    found = measures(list(left), list(right), pairs)
    for at, (a, b) in enumerate(pairs):
        one, other = weight[a], weight[25 + b]
        cosine = sum(one[word] * other[word] for word in one.keys() & other.keys())
        cosine /= np.sqrt(sum(w**2 for w in one.values()) * sum(w**2 for w in other.values()))
        assert found["words"][at] == pytest.approx(cosine)
        lacking = max((rarity[word] for word in one.keys() - other.keys()), default=0.0)
        assert found["left_rarest"][at] == pytest.approx(lacking / np.log(51))


def test_equality_does_not_mind_how_it_is_written() -> None:
    found = measures(["  Café  Noir", "x", "", "日本"], ["CAFE noir", "y", " ", "日本"], [(0, 0), (1, 1), (2, 2), (1, 2), (3, 3)])
    assert found["equal"][:2] == [1.0, 0.0]
    assert np.isnan(found["equal"][2:4]).all()  # a blank text says nothing
    assert found["equal"][4] == 1.0
    assert found["words"][4] == pytest.approx(1.0)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    left, right = ([" ".join(f"w{word}" for word in rng.integers(0, 20, rng.integers(0, 9))) for _ in range(30)] for _ in range(2))
    pairs = [(int(a), int(b)) for a, b in rng.integers(0, 30, (200, 2))]
    whole = measures(list(left), list(right), pairs)
    monkeypatch.setattr(texts, "BLOCK_TOKENS", 7)
    for name, values in measures(list(left), list(right), pairs).items():
        assert values == pytest.approx(whole[name], nan_ok=True)


def test_several_texts_are_also_compared_together() -> None:
    name = Attribute("name", "text", ["sony tv"], ["tv"])
    about = Attribute("about", "text", [None], ["by sony"])
    found = compare([name, about], np.array([0]), np.array([0]))
    value = dict(zip(found.names, found.values[0].tolist(), strict=True))
    assert np.isnan(value["about.words"])
    assert value["record.contained"] == pytest.approx(1.0)
    assert value["name.contained"] < 1.0
    assert set(found.agreed) == {"name", "about"}
    assert not found.agreed["about"][0]
    assert len(found.signs) == len(found.names) == found.values.shape[1]
    assert found.values.dtype == np.float32


def test_no_pairs_and_no_rows() -> None:
    empty = np.zeros(0, dtype=np.int64)
    found = compare([Attribute("a", "text", [], []), Attribute("n", "number", [], [])], empty, empty)
    assert found.values.shape == (0, len(found.names))
    assert isinstance(found.beside(found), Features)


def test_long_texts_are_cut() -> None:
    long = "word " * 300_000
    found = measures([long + "end"], [long], [(0, 0)])
    assert found["words"] == pytest.approx([1.0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "at least one attribute"),
        ([Attribute("a", "text", [], []), Attribute("a", "number", [], [])], "given 2 times"),
        ([Attribute("a", "colour", [], [])], "unknown kind"),  # type: ignore[arg-type]
        ([Attribute("a", "number", ["x"], [1])], "is compared as number"),
        ([Attribute("a", "text", [1], ["x"])], "is compared as text"),
        ([Attribute("a", "date", [1], [None])], "is compared as date"),
        ([Attribute("a", "boolean", ["x"], [True])], "is compared as boolean"),
        ([Attribute("a", "array", ["abc"], [["a"]])], "is compared as array"),
    ],
)
def test_what_cannot_be_compared(given: list[Attribute], message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        compare(given, np.array([0]), np.array([0]))


def test_check_interrupts() -> None:
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare([Attribute("a", "text", ["x"], ["x"])], np.array([0]), np.array([0]), check=check)
