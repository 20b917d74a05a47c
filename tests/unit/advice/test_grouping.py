"""Which shapes share a covering index, and in what order its keys stand."""

from __future__ import annotations

from pgembed.advice.grouping import Covering, Use, covering
from pgembed.advice.shapes import Shape, Term

SPREAD = {"section": 50.0, "arch": 5.0, "kb": 5000.0, "day": 700.0}


def use(searches: int = 1, **forms: str) -> Use:
    terms = tuple(Term((name,), form, f"{name} {form}", True) for name, form in sorted(forms.items()))
    return Use(Shape(terms, tuple(sorted(forms)), None), searches, 1000.0)


def made(*uses: Use, most: int = 99) -> list[tuple[list[str], list[str]]]:
    def fits(index: Covering) -> bool:
        return len(index.keys) + len(index.carried) <= most

    return [(index.keys, index.carried) for index in covering(uses, lambda name: SPREAD.get(name, 0.0), fits)]


def test_equalities_come_first_then_a_bound_and_the_rest_is_carried() -> None:
    assert made(use(kb="range", arch="any", section="equality", body="like", day="range")) == [(["section", "arch", "kb"], ["body", "day"])]
    assert made(use(body="like"), use(tags="overlap")) == []
    assert made(use(gone="null", kb="range")) == [(["gone", "kb"], [])]


def test_a_shape_is_served_by_the_first_keys_of_anothers_index() -> None:
    narrow, wide = use(arch="equality"), use(arch="equality", section="equality")
    assert made(narrow, wide) == made(wide, narrow) == [(["arch", "section"], [])]
    assert made(use(9, section="equality"), use(section="equality", kb="range"), use(section="any", body="like")) == [
        (["section", "kb"], ["body"])
    ]
    assert made(use(kb="range"), use(kb="range", body="like")) == [(["kb"], ["body"])]


def test_what_no_first_keys_would_find_has_an_index_of_its_own() -> None:
    assert made(use(3, section="equality"), use(2, kb="range")) == [(["section"], []), (["kb"], [])]
    assert made(use(3, section="equality"), use(2, arch="equality")) == [(["section"], []), (["arch"], [])]
    assert made(use(3, kb="range"), use(2, section="equality", kb="range")) == [(["kb"], []), (["section", "kb"], [])]
    # arch and section have (arch, section); a third that asks for section alone is not found by its second key
    assert made(use(9, arch="equality"), use(5, arch="equality", section="equality"), use(1, section="equality")) == [
        (["arch", "section"], []),
        (["section"], []),
    ]


def test_what_would_not_fit_together_stays_apart() -> None:
    uses = use(3, section="equality"), use(section="equality", body="like")
    assert made(*uses) == [(["section"], ["body"])]
    assert made(*uses, most=1) == [(["section"], []), (["section"], ["body"])]
