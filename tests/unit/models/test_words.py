"""words: the same tokens as the tokenizers package, on nasty and random texts, and on all that ASCII has."""

from __future__ import annotations

import json
import random
import string
from pathlib import Path
from typing import Any

import pytest

from pgembed.models import words

np = pytest.importorskip("numpy")
tokenizers = pytest.importorskip("tokenizers")

MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [
    *MARKS, *string.digits, *"!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~\\", *"abcdefghijklmnopqrstuvwxy",
    *(f"##{c}" for c in "abcdefghijklmnop0123456789"), "lib", "##lib", "the", "then", "##n", "##ng", "lang", "##uage", "language",
    "mask", "unk", "A", "The", "##Z", "ab" * 30, "é",
]  # fmt: skip
NASTY = [
    "", " ", "a", "the language", "THE LANGUAGE", "then theng thenx thez", "z", "az", "za", "a_b-c", "lib's (lib)...", "##a ##lib",
    "\t a\nb\r\nc ", "a" * 100, "a" * 101, "ab" * 30, "ab" * 31, "[mask]", "mask", "[ MASK ]", "x[x]x", "[unk", "unk]", "[a]",
    "a.b.c@d", "...", "0123 4567", "a  b", "[[]]", "é", "café", "naïve", "É", "ŀib", "a—b", "“the”…", "5 €", "ΣΑΣ", "Ёж", "a\xa0b",
    "\u0130",
]  # fmt: skip
LEFT = ["\0", "a\x07b", "a\x0bb", "\x7f", "a\u0301", "日本", "a\u200bb", "so\xadft", "[MASK]", "x[SEP]y", "é [PAD]", "[PAD", "\ud7ff"]


def tokenizer(pieces: list[str] = PIECES, *, marks: list[str] = MARKS, **normalizer: Any) -> Any:
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = tokenizers.normalizers.BertNormalizer(**normalizer)
    made.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    made.add_special_tokens(marks)
    return made


def opened(made: Any, tmp_path: Path) -> words.Words:
    assert words.write(json.loads(made.to_str()), tmp_path / "words.bin")
    return words.Words(tmp_path / "words.bin")


def expected(made: Any, texts: list[str]) -> list[list[int]]:
    return [made.encode(text, add_special_tokens=False).ids for text in texts]


def found(vocabulary: words.Words, texts: list[str]) -> list[list[int]]:
    tokens, lengths = vocabulary.tokens(texts)
    assert lengths.sum() == len(tokens)
    ends = np.cumsum(lengths)
    return [tokens[end - length : end].tolist() for end, length in zip(ends, lengths, strict=True)]


@pytest.mark.parametrize("lowercase", [True, False])
def test_nasty_texts_alone_and_together(tmp_path: Path, lowercase: bool) -> None:
    made = tokenizer(lowercase=lowercase)
    vocabulary = opened(made, tmp_path)
    plain = [text for text in NASTY if vocabulary.takes(text)]
    assert len(plain) >= len(NASTY) - 1  # "[mask]" may be left to the package
    assert found(vocabulary, plain) == expected(made, plain)
    assert [found(vocabulary, [text])[0] for text in plain] == expected(made, plain)
    assert found(vocabulary, []) == []


def test_random_texts(tmp_path: Path) -> None:
    made = tokenizer()
    vocabulary = opened(made, tmp_path)
    chance = random.Random(1)
    alphabet = string.printable + "abcdeln[]" * 8
    texts = ["".join(chance.choices(alphabet, k=chance.randrange(60))) for _ in range(5000)]
    plain = [text for text in texts if vocabulary.takes(text)]
    assert 500 < len(plain) < len(texts)
    assert found(vocabulary, plain) == expected(made, plain)


def test_every_ascii_character_is_treated_as_the_package_does(tmp_path: Path) -> None:
    made = tokenizer()
    vocabulary = opened(made, tmp_path)
    texts = [f"a{chr(code)}b" for code in range(128)]
    plain = [text for text in texts if vocabulary.takes(text)]
    assert {text[1] for text in plain} == set(string.printable) - {"\x0b", "\x0c"}
    assert found(vocabulary, plain) == expected(made, plain)


@pytest.mark.parametrize("options", [{}, {"lowercase": False}, {"strip_accents": False}, {"lowercase": False, "strip_accents": True}])
def test_every_other_plain_character_is_treated_as_the_package_does(tmp_path: Path, options: dict[str, Any]) -> None:
    single = [chr(code) for code in range(0xA0, 0x2FFF)]
    # Each is a piece, too, so that no two give the same tokens because both are unknown.
    made = tokenizer([*PIECES, *single, *(f"##{c}" for c in single), *(f"##{c}" for c in "qrstuvwxyz"), "##\u02bc"], **options)
    vocabulary = opened(made, tmp_path)
    plain = [c for c in single if vocabulary.takes(c)]
    assert len(plain) > 1200
    for texts in (plain, [f"a{c}b" for c in plain], [f"{a}{b}" for a, b in zip(plain, plain[1:] + plain[:1], strict=True)]):
        assert found(vocabulary, texts) == expected(made, texts)


def test_what_is_not_plain_is_left_to_the_package(tmp_path: Path) -> None:
    vocabulary = opened(tokenizer(), tmp_path)
    assert [text for text in LEFT if vocabulary.takes(text)] == ["[PAD"]


def test_a_real_vocabulary_of_thirty_thousand_pieces(tmp_path: Path) -> None:
    chance = random.Random(2)
    letters = "etaoinshrdlu"
    pieces = dict.fromkeys(["".join(chance.choices(letters, k=chance.randrange(1, 9))) for _ in range(16_000)])
    inner = dict.fromkeys(["##" + "".join(chance.choices(letters, k=chance.randrange(1, 7))) for _ in range(14_000)])
    made = tokenizer([*MARKS, *letters, *(f"##{c}" for c in letters), *(p for p in [*pieces, *inner] if p.lstrip("#") not in letters)])
    vocabulary = opened(made, tmp_path)
    texts = [" ".join("".join(chance.choices(letters, k=chance.randrange(1, 20))) for _ in range(20)) for _ in range(500)]
    assert found(vocabulary, texts) == expected(made, texts)


def test_memory_is_bounded_and_what_was_forgotten_is_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_MOST_WORDS", 50)
    made = tokenizer()
    vocabulary = opened(made, tmp_path)
    texts = [f"lib{i} the{i}" for i in range(400)]
    for start in range(0, 400, 20):
        assert found(vocabulary, texts[start : start + 20]) == expected(made, texts[start : start + 20])
        assert len(vocabulary._codes) < 50 + 100
    assert found(vocabulary, texts[:20]) == expected(made, texts[:20])


def changed(**changes: Any) -> dict[str, Any]:
    said = json.loads(tokenizer().to_str())
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = said
        for parent in parents:
            place = place[parent]
        place[last] = value
    return said


MARK = {"id": 0, "content": "word", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


@pytest.mark.parametrize(
    "said",
    [
        changed(model__type="WordLevel"),
        changed(model__unk_token="nothing"),
        changed(normalizer=None),
        changed(normalizer={"type": "NFC"}),
        changed(normalizer__clean_text=False),
        changed(pre_tokenizer={"type": "Whitespace"}),
        changed(added_tokens=[MARK]),
        changed(added_tokens=[MARK | {"content": "[É]"}]),
        changed(added_tokens=[MARK | {"content": "[a b]"}]),
        changed(model__vocab={"[UNK]": 0, "a": 2}),
    ],
)
def test_another_tokenizer_is_not_written(tmp_path: Path, said: dict[str, Any]) -> None:
    assert not words.write(said, tmp_path / "words.bin")
    assert not (tmp_path / "words.bin").exists()


def test_rules_of_the_tokenizer_are_kept(tmp_path: Path) -> None:
    made = tokenizers.Tokenizer.from_str(json.dumps(changed(model__max_input_chars_per_word=5, model__continuing_subword_prefix="@")))
    vocabulary = opened(made, tmp_path)
    texts = ["aaaaa", "aaaaaa", "then", "ab"]
    assert found(vocabulary, texts) == expected(made, texts)
    assert found(vocabulary, ["aaaaaa"]) == [[1]]
