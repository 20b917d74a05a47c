"""model: a tiny model for tests, made by rule, the same everywhere. Standard library only.

A static model (see ``pgembed.models.static``): a text's vector is the mean of those of its pieces. A word is cut by rule, into its first
three letters and then two at a time, so that every word has pieces; a piece's vector is 64 signs drawn by SHAKE-256 from its spelling. Of
different pieces they are about at right angles: random projections with signs, Achlioptas 2003 (https://doi.org/10.1016/S0022-0000(03)00025-4),
of a bag of pieces. So texts are near each other if they share words, or words' beginnings, in whatever order; nothing is known of meaning.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from string import ascii_lowercase, digits, punctuation

MODEL = "pgembed-tiny"
DIM = 64

_UNKNOWN = "[UNK]"
_INSIDE = "##"  # before a piece that continues a word
# Letters of other scripts than the Latin, which stand for themselves: Latin's own further ones, Greek, Cyrillic, Hebrew, Arabic, kana.
_LETTERS = ((0xDF, 0x24F), (0x3AC, 0x3CE), (0x430, 0x45F), (0x5D0, 0x5EA), (0x621, 0x64A), (0x3041, 0x3096), (0x30A1, 0x30FA))
_FUNCTION_WORDS = (
    "a an and are as at be but by can do for from had has have he her his i if in into is it its my no not of on or our she so than that"
    " the their them then there these they this to up us was we were what when which who will with you your"
)
# What a piece counts: one that begins a word, so that words that begin alike are near each other; one that goes on; what says little.
_BEGINNING, _INNER, _LITTLE = 1.0, 0.625, 0.125


def write_model(folder: Path) -> Path:
    """Write the model, as sentence-transformers' ``StaticEmbedding`` is saved: for ``pgembed model add`` and ``pgembed.register_model``.

    Vectors have 64 dimensions and length 1. A text is read to its end. Chinese characters are all alike to it.

    Args:
        folder: made where it is missing; readable by everybody afterwards, for the server runs as another user.
    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pieces = dict(_pieces())
    table = b"".join(_row(piece, weight) for piece, weight in pieces.items())
    files = {
        "model.safetensors": _safetensors("embedding.weight", (len(pieces), DIM), table),
        "tokenizer.json": _json(_tokenizer(pieces)),
        "modules.json": _json([{"type": f"sentence_transformers.models.{kind}", "path": ""} for kind in ("StaticEmbedding", "Normalize")]),
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o644)
    folder.chmod(0o755)
    return folder


def _spelt(letters: str, longest: int) -> Iterator[str]:
    for length in range(1, longest + 1):
        yield from map("".join, product(letters, repeat=length))


def _pieces() -> Iterable[tuple[str, float]]:
    """The vocabulary: each piece and what it counts, each once, in order."""
    found = {_UNKNOWN: _LITTLE}
    found |= {piece: _BEGINNING for letters, longest in ((ascii_lowercase, 3), (digits, 2)) for piece in _spelt(letters, longest)}
    found |= {_INSIDE + piece: _INNER for letters in (ascii_lowercase, digits) for piece in _spelt(letters, 2)}
    others = [chr(code) for first, last in _LETTERS for code in range(first, last + 1)]
    found |= {prefix + letter: counts for prefix, counts in (("", _BEGINNING), (_INSIDE, _INNER)) for letter in others}
    found |= dict.fromkeys((*punctuation, *_FUNCTION_WORDS.split()), _LITTLE)
    return found.items()


def _signs(weight: float) -> list[bytes]:
    """For each byte its bits as eight numbers, weight or -weight: float32, little-endian."""
    return [struct.pack("<8f", *(weight if byte >> (7 - bit) & 1 else -weight for bit in range(8))) for byte in range(256)]


_SIGNS = {weight: _signs(weight) for weight in (_BEGINNING, _INNER, _LITTLE)}


def _row(piece: str, weight: float) -> bytes:
    table = _SIGNS[weight]
    return b"".join([table[byte] for byte in hashlib.shake_256(piece.encode()).digest(DIM // 8)])


def _safetensors(name: str, shape: tuple[int, int], numbers: bytes) -> bytes:
    """A file of one tensor (https://huggingface.co/docs/safetensors#format): the length of a JSON header, the header, the numbers."""
    header = _json({name: {"dtype": "F32", "shape": list(shape), "data_offsets": [0, len(numbers)]}})
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + numbers


def _tokenizer(pieces: Iterable[str]) -> dict[str, object]:
    """tokenizer.json: BERT's, which ``pgembed.models.words`` is fast at."""
    folded = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    wordpiece = {"type": "WordPiece", "unk_token": _UNKNOWN, "continuing_subword_prefix": _INSIDE, "max_input_chars_per_word": 1000}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": folded,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": None,
        "model": wordpiece | {"vocab": {piece: number for number, piece in enumerate(pieces)}},
    }


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m pgembed.testing.model FOLDER")
    print(write_model(Path(sys.argv[1])))
