"""What texts are cut into."""

from __future__ import annotations

import pytest

from pgembed.lexical import tokens


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ABC", "abc"),
        ("Café", "cafe"),
        ("Straße", "strasse"),
        ("ﬁne Ⅻ", "fine xii"),
        ("İstanbul", "istanbul"),
        ("한국어", "한국어"),
        ("", ""),
    ],
)
def test_fold(text: str, folded: str) -> None:
    assert tokens.fold(text) == folded


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b-c, a", ["a", "b", "c", "a"]),
        ("printshop v22", ["printshop", "v22", "v", "22"]),
        ("3d café", ["3d", "3", "d", "café"]),
        ("北京大学 x", ["北", "京", "大", "学", "北京", "京大", "大学", "x"]),
        ("go 🙂🙂", ["go", "🙂", "🙂"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("--- !", ["--- !"]),
        ("", []),
        (" \n", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert tokens.words(text) == words


def test_ngrams_stay_inside_of_words_and_cross_one_border_only_where_two_words_meet() -> None:
    assert tokens.chunks("tech tool") == [" tech ", " tool ", "chto"]
    assert tokens.ngrams(" tech ") == [" te", "tec", "ech", "ch "]
    assert set(tokens.ngrams("chto")) <= set(tokens.ngrams(" techtool "))
    assert tokens.ngrams("ab") == ["ab"]


def test_compounds_are_what_others_write_in_one_word() -> None:
    assert tokens.compounds("tech tool pro") == ["techtool", "toolpro"]
    assert tokens.compounds("one") == []


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("sony kx-tg6700b (black)", ["kxtg6700b"]),
        ("1,299.00 and $20.0 and .5", ["1299", "20", ".5"]),
        ("0.00", ["0"]),
        ("33-1/3 rpm", ["3313"]),
        ("no digit", []),
    ],
)
def test_numbers_are_written_in_one_way(text: str, numbers: list[str]) -> None:
    assert tokens.numbers(text) == numbers
