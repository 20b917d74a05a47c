"""The page's parts: nothing that stands in a row is read as HTML, and the figures are such as Plotly takes."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import numpy as np
import pytest

from pgembed.report import filtering, geometry, mapping, measures, page, plots
from pgembed.report.reading import Plain, Sample
from pgembed.report.searching import Point

EVIL = "</script><script>alert(1)</script><b>&\x01\u2028😀"


def rendered(figures: dict[str, Any], section: page.Section | None = None) -> str:
    return page.render("title " + EVIL, EVIL, [section or page.Section("one", "One")], figures, None, EVIL)


def test_what_stands_in_a_row_is_text() -> None:
    section = page.Section("one", "One")
    section.say(EVIL)
    section.facts([(EVIL, EVIL)])
    section.table((EVIL, "n"), [(EVIL, 1.5), (None, None)], EVIL)
    made = rendered({"x": {"data": [{"text": [EVIL]}], "layout": {}}}, section)
    assert "<script>alert" not in made
    assert "\x01" not in made
    held = re.search(r'<script type="application/json" id="figures">(.*?)</script>', made, re.DOTALL)
    assert held is not None
    assert json.loads(held[1])["plots"]["x"]["data"][0]["text"] == [EVIL]


def test_nothing_is_fetched_and_the_page_forbids_it() -> None:
    made = re.sub(r'id="plotly">.*?</script>', "", rendered({"x": {"data": [], "layout": {}}}), flags=re.DOTALL)
    assert "default-src 'none'" in made
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", made)
    assert not re.search(r"https?://|@import|url\(", made)


def test_without_figures_there_is_no_library() -> None:
    assert 'id="plotly"' not in rendered({})


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "-"), (0, "0"), (1234, "1,234"), (0.5, "0.5"), (12345.6, "12,346"), (0.0000123, "1.23e-05"), (1.0, "1"), (float("nan"), "nan")],
)
def test_numbers_are_short(value: object, said: str) -> None:
    assert page.number(value) == said


def test_sizes_are_short() -> None:
    assert [page.size(n) for n in (0, 999, 1500, 2.5e6, 3e9, 4e12, None)] == [
        *("0 bytes", "999 bytes", "1.5 kB", "2.5 MB", "3.0 GB", "4,000.0 GB", "unknown"),
    ]


def test_figures_are_such_as_plotly_takes() -> None:
    from plotly import graph_objects

    points = [Point("a", "x = 1", 0.5, 1.0, 5), Point("a", "x = 2", 1.0, 20.0, 5), Point("b", "y", None, None, 0)]
    filtered = [filtering.Filtered("a = 1", 0.5, "exact", "why", milliseconds=2.0), filtering.Filtered("b", 0.1)]
    line = {"at": "2026-01-01", "fresh": 1, "stale": 0, "pending": 2, "failed": 0, "null_source": 0}
    for figure in (
        plots.curves(points),
        plots.curves([]),
        plots.codecs([("c", {20: 0.9, 100: 1.0})]),
        plots.footprints([("c", 48, {20: 0.9}), ("d", 24, {20: 0.8, 50: 0.9})], [("way", 1544.0, points[:2])], (20, 50)),
        plots.footprints([], [("way", 1544.0, points[:1])], (20,)),
        plots.sizes([("table", 5_000_000)]),
        plots.filters(filtered),
        plots.freshness([line, line]),
        plots.histogram([1, 2], [0.0, 1.0, 2.0], "x", "y"),
        plots.spectrum(np.array([0.5, 0.5])),
        {"data": [], "layout": plots.plane()},
    ):
        graph_objects.Figure(figure)  # raises ValueError for what it does not know
    with pytest.raises(ValueError, match="nonsense"):
        graph_objects.Figure({"data": [{"type": "scatter", "nonsense": 1}]})


def drawn(**values: list[Any]) -> Sample:
    n = len(next(iter(values.values())))
    keys = [str(i) for i in range(n)]
    return Sample(np.zeros((n, 2), dtype=np.float32), keys, ["a text"] * n, dict(values), n)


def test_filters_are_made_of_common_values_of_each_share() -> None:
    sample = drawn(kind=["a"] * 70 + ["b's"] * 20 + [None] * 10, name=[f"n{i}" for i in range(100)], size=list(range(100)))
    known = [Plain("kind", "text", "text"), Plain("name", "text", "text"), Plain("size", "number", "int4")]
    found = filtering.candidates(sample, known)
    assert ("\"kind\" = 'a'", 0.7) in found
    assert ("\"kind\" = 'b''s'", 0.2) in found
    assert not any("name" in condition for condition, _ in found)
    assert [share for _, share in found] == sorted((share for _, share in found), reverse=True)
    assert any(condition.startswith('"size" <= ') and share < 0.1 for condition, share in found)


def test_colourings_know_values_numbers_and_null() -> None:
    sample = drawn(kind=["<b>"] * 6 + [f"v{i}" for i in range(12)] * 2 + [None] * 3, size=[1.0, None, 3.0] * 11)
    near = measures.nearest(np.random.default_rng(1).normal(size=(33, 2)).astype(np.float32), "l2")
    known = [Plain("kind", "text", "text"), Plain("size", "number", "int4")]
    size, kind, occurrences = mapping.colourings(sample, known, "size", None, near, np.zeros((33, 2)))
    assert (size["name"], kind["name"], occurrences["kind"]) == ("size", "kind", "number")
    assert size["values"][:3] == [1.0, None, 3.0]
    assert kind["groups"][0]["label"] == "&lt;b&gt;"
    assert [group["label"] for group in kind["groups"][-2:]] == ["3 other values", "NULL"]
    assert sorted(row for group in kind["groups"] for row in group["rows"]) == list(range(33))


def test_a_label_is_cut_and_escaped() -> None:
    made = mapping.label("k" * 99, "<i> " + "word " * 200_000)
    assert made.startswith("<b>" + "k" * 59 + "…</b><br>&lt;i&gt; word")
    assert len(made) < 500


def test_bins_of_whole_numbers_hold_as_many_of_them_each() -> None:
    held: dict[str, Any] = {}
    geometry.histogram(page.Section("one", "One"), lambda _, id, figure, *__: held.update({id: figure}), "h", np.arange(55), "x", "c", "l")
    bars = held["h"]["data"][0]
    # two numbers in each, one left: no comb of ones and twos
    assert bars["y"] == [2] * 27 + [1]
    assert bars["text"][:2] == ["-0.5 to 1.5", "1.5 to 3.5"]


def test_topics_of_the_same_words_have_one_note_and_notes_do_not_cover_each_other() -> None:
    points = np.random.default_rng(1).normal(size=(400, 2))
    names = ["red, green, blue", "red, green, blue", "long" * 20 + ", word", "one, two", "group 5"]
    notes = mapping._notes([row % 5 for row in range(400)], names, points)
    assert [note["text"] for note in notes] == ["red, green", "longlonglonglonglon…, word", "one, two"]
    whole = float(np.ptp(points, axis=0).max())
    for one, two in itertools.combinations(notes, 2):
        assert (
            abs(one["y"] - two["y"]) > 0.049 * whole
            or abs(one["x"] - two["x"]) > 0.01 * (len(one["text"]) + len(two["text"])) * whole - 0.01
        )


def test_a_value_is_no_template_of_plotly() -> None:
    assert plots.escaped("a %{x} <b>") == "a &#37;{x} &lt;b&gt;"


def test_sizes_are_told_in_the_unit_of_the_largest() -> None:
    for most, unit, told in (
        (3_000_000_000, "gigabytes", 3.0),
        (5_000_000, "megabytes", 5.0),
        (16_384, "kilobytes", 16.384),
        (7, "bytes", 7.0),
    ):
        made = plots.sizes([("table t", most), ("index i", 1)])
        assert made["layout"]["xaxis"]["title"]["text"] == unit
        assert made["data"][0]["x"][-1] == told
