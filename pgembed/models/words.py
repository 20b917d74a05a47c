"""words: BERT's tokenizer for plain text, without the tokenizers package: what a short text costs is then a few microseconds.

For plain texts the chain BertNormalizer, BertPreTokenizer, WordPiece (Devlin et al. 2019, https://arxiv.org/abs/1810.04805) is: fold the
case, cut at blanks, let every punctuation mark be a word of its own, and cover each word greedily with the longest pieces of the
vocabulary. All texts of a slice are cut at once, and a word is covered once: its pieces are remembered. Plain is ASCII, and the letters and
marks of Latin, Greek and Cyrillic scripts, of which each stands for itself whatever is beside it. Whatever else a text may hold (other
characters, combining or control characters, a special token spelt out) is left to the tokenizers package, so the tokens are always those
that it gives.

The vocabulary is a file that is mapped, not read, so that all backends share its pages:

    8 bytes      magic
    8 bytes      int64, length of what follows: JSON, padded with blanks to a multiple of 8: the rules below, and the sizes
    4 * slots    int32, hash table, open addressing: the number of a piece, or -1; a power of two
    4 * (n + 1)  uint32, where piece i begins; the last one is the length of all
    rest         the pieces, UTF-8, one after the other; a piece inside of a word has its prefix (##)
"""

from __future__ import annotations

import json
import mmap
import re
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAGIC = b"pgewords"
_LOAD = 4  # slots for each piece, at least: most look-ups of what is no piece then end at the first, empty slot

# Words remembered, some 180 bytes each. English prose has fewer; names and numbers have no end.
_MOST_WORDS = 65_536

_SHORT_CHARS = 1_000

# Between texts. A control character, so no text that comes here has it.
_END = "\0"

_PUNCTUATION = {chr(c): f" {chr(c)} " for c in range(33, 127) if not chr(c).isalnum()}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

# Latin, Greek, Cyrillic, punctuation, currencies, arrows. Unicode has not changed there for years; U+00AD, the soft hyphen, is none.
_WIDE = (
    "\xa0-\xac\xae-\u024f\u0386-\u0386\u0388-\u038a\u038e-\u03a1\u03a3-\u0482\u048a-\u04ff\u1e00-\u1eff"
    "\u2010-\u2027\u2030-\u205e\u20a0-\u20bf\u2190-\u21ff"
)
_PLAIN = re.compile(f"[\t\n\r -~{_WIDE}]*")


@dataclass(frozen=True)
class Rules:
    """What a tokenizer.json says beside its pieces.

    Attributes:
        lowercase: case is folded.
        strip_accents: accents are taken off; None for where case is folded.
        prefix: of a piece inside of a word.
        longest_word: in characters; a longer word is unknown.
        unknown: the number of the unknown token.
        marks: special tokens, lower case, which the tokenizer finds before it looks for words.
    """

    lowercase: bool
    prefix: str
    longest_word: int
    unknown: int
    marks: list[str]
    strip_accents: bool | None = None


def rules_of(tokenizer: dict[str, Any]) -> Rules | None:
    """The rules of a tokenizer.json, or None where it is not of the kind that is understood here."""
    model, normalizer, cutter = (tokenizer.get(key) or {} for key in ("model", "normalizer", "pre_tokenizer"))
    if (model.get("type"), normalizer.get("type"), cutter.get("type")) != ("WordPiece", "BertNormalizer", "BertPreTokenizer"):
        return None
    vocabulary = model["vocab"]
    marks = [token["content"] for token in tokenizer.get("added_tokens") or []]
    # A mark that begins with a letter, or with anything that folding may change, would have to be looked for everywhere.
    plain = all(mark.isascii() and mark.isprintable() and " " not in mark and mark[:1] in _PUNCTUATION for mark in marks)
    if not normalizer.get("clean_text", True) or not plain or model.get("unk_token") not in vocabulary:
        return None
    # Pieces are addressed by their number.
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        return None
    return Rules(
        lowercase=bool(normalizer.get("lowercase", True)),
        prefix=model.get("continuing_subword_prefix", "##"),
        longest_word=model.get("max_input_chars_per_word", 100),
        unknown=vocabulary[model["unk_token"]],
        marks=sorted({mark.lower() for mark in marks}),
        strip_accents=normalizer.get("strip_accents"),
    )


def write(tokenizer: dict[str, Any], path: Path) -> bool:
    """Write the vocabulary of a tokenizer.json to a new file; False, and no file, where it is not understood here."""
    rules = rules_of(tokenizer)
    if rules is None:
        return False
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    pieces = [piece.encode() for piece in sorted(vocabulary, key=vocabulary.__getitem__)]
    slots = array("i", [-1]) * (1 << (len(pieces) * _LOAD - 1).bit_length())
    starts = array("I", [0])
    for number, piece in enumerate(pieces):
        at = crc32(piece) & (len(slots) - 1)
        while slots[at] >= 0:
            at = (at + 1) & (len(slots) - 1)
        slots[at] = number
        starts.append(starts[-1] + len(piece))
    longest = max(map(len, pieces), default=0)
    said = json.dumps({**asdict(rules), "pieces": len(pieces), "slots": len(slots), "longest_piece": longest}).encode()
    said += b" " * (-len(said) % 8)
    with path.open("wb") as file:
        file.write(_MAGIC + len(said).to_bytes(8, "little") + said)
        slots.tofile(file)
        starts.tofile(file)
        file.write(b"".join(pieces))
    return True


class Words:
    """A vocabulary file, opened."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        view = memoryview(self._map)
        said_end = 16 + int.from_bytes(view[8:16], "little")
        said = json.loads(bytes(view[16:said_end]))
        self._longest_piece = said.pop("longest_piece")
        self.count: int = said.pop("pieces")
        slots_end = said_end + 4 * said.pop("slots")
        starts_end = slots_end + 4 * (self.count + 1)
        self._slots, self._starts = view[said_end:slots_end].cast("i"), view[slots_end:starts_end].cast("I")
        self._pieces_at = starts_end
        self.rules = Rules(**said)
        self._mark_starts = {mark[0] for mark in self.rules.marks}
        self._forget()

    def takes(self, text: str) -> bool:
        """Whether the text is plain: ``tokens`` may be asked for it."""
        if not text.isascii():
            if not _PLAIN.fullmatch(text):
                return False
        elif not text.isprintable() and _CONTROL.search(text):
            return False
        # Not often: nearly no text has a "[".
        if any(start in text for start in self._mark_starts):
            folded = text.lower()
            return not any(mark in folded for mark in self.rules.marks)
        return True

    def tokens(self, texts: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The tokens of plain texts.

        Args:
            texts: each of which ``takes`` has said yes to.
        Returns:
            Token numbers of all texts in order, int32, shape (m,), unknown ones included; and how many each text has, int64, shape (n,).
        """
        import numpy as np

        if len(self._codes) > _MOST_WORDS:
            self._forget()
        if len(texts) == 1 and len(texts[0]) <= _SHORT_CHARS:
            tokens = self._tokens_of_one(texts[0])
            return np.array(tokens, np.int32), np.array([len(tokens)])
        words = self._cut(f" {_END} ".join(texts))
        words.append(_END)
        codes = np.fromiter(map(self._codes.__getitem__, words), np.int32, len(words))
        if len(self._codes.lengths):
            codes = self._expanded(codes)
        ends = np.flatnonzero(codes < 0)
        if not texts:
            ends = ends[:0]
        lengths = np.diff(ends, prepend=-1) - 1
        return codes[codes >= 0], lengths

    def _cut(self, text: str) -> list[str]:
        if not text.isascii():
            text = text.translate(_wide(self.rules.lowercase, self.rules.strip_accents))
        if self.rules.lowercase:
            text = text.lower()
        for mark, apart in _PUNCTUATION.items():
            text = text.replace(mark, apart)
        return text.split()

    def _tokens_of_one(self, text: str) -> list[int]:
        """For a short text alone numpy's calls would cost more than the work."""
        tokens: list[int] = []
        codes, count = self._codes, self.count
        for word in self._cut(text):
            code = codes[word]
            if code < count:
                tokens.append(code)
            else:
                start = codes.starts[code - count]
                tokens += codes.pieces[start : start + codes.lengths[code - count]]
        return tokens

    def _expanded(self, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """Codes with the words of several pieces replaced by these."""
        import numpy as np

        several = np.flatnonzero(codes >= self.count)
        if not len(several):
            return codes
        which = codes[several] - self.count
        starts, lengths, pieces = (np.frombuffer(part, np.int32) for part in (self._codes.starts, self._codes.lengths, self._codes.pieces))
        first, many = starts[which], lengths[which]
        counts = np.ones(len(codes), np.int64)
        counts[several] = many
        out = np.repeat(codes, counts)
        # 0, 1, 2, ... inside of each word.
        before = np.cumsum(many) - many
        inside = np.arange(before[-1] + many[-1]) - np.repeat(before, many)
        at = (np.cumsum(counts) - counts)[several]
        out[np.repeat(at, many) + inside] = pieces[np.repeat(first, many) + inside]
        return out

    def _forget(self) -> None:
        self._codes = _Codes(self)

    def pieces_of(self, word: str) -> list[int]:
        """The numbers of the pieces that cover a word, longest first from the left; the unknown token where there are none."""
        if len(word) > self.rules.longest_word:
            return [self.rules.unknown]
        # One function, not two: half of what a new word costs would be the calls.
        coded, prefix, prefix_sum = word.encode(), b"", 0
        slots, starts, last, pieces, pieces_at = self._slots, self._starts, len(self._slots) - 1, self._map, self._pieces_at
        found: list[int] = []
        start, size = 0, len(coded)
        while start < size:
            end = min(size, start + self._longest_piece)
            number = -1
            while end > start:
                piece = coded[start:end]
                at = crc32(piece, prefix_sum) & last
                while (number := slots[at]) >= 0:
                    if pieces[pieces_at + starts[number] : pieces_at + starts[number + 1]] == prefix + piece:
                        break
                    at = (at + 1) & last
                if number >= 0:
                    break
                end -= 1
            if number < 0:
                return [self.rules.unknown]
            found.append(number)
            if not start:
                prefix = self.rules.prefix.encode()
                prefix_sum = crc32(prefix)
            start = end
        return found


@cache
def _wide(lowercase: bool, strip_accents: bool | None) -> dict[int, str]:
    """What becomes of each character that is plain and not ASCII; marks of punctuation are set apart."""
    import unicodedata

    strip = lowercase if strip_accents is None else strip_accents
    made = {}
    for ends in re.findall(".-.", _WIDE):
        for code in range(ord(ends[0]), ord(ends[2]) + 1):
            said = chr(code)
            if strip:
                said = "".join(c for c in unicodedata.normalize("NFD", said) if unicodedata.category(c) != "Mn")
            if lowercase:
                # One by one: the small sigma at a word's end is a matter of context.
                said = "".join(c.lower() for c in said)
            made[code] = "".join(f" {c} " if unicodedata.category(c)[0] == "P" else " " if c.isspace() else c for c in said)
    return made


class _Codes(dict[str, int]):
    """What words are: the number of a token, or the vocabulary's size plus a place in ``starts`` and ``lengths``; -1 between texts."""

    def __init__(self, words: Words) -> None:
        super().__init__({_END: -1})
        self._words = words
        self.starts, self.lengths, self.pieces = array("i"), array("i"), array("i")

    def __missing__(self, word: str) -> int:
        found = self._words.pieces_of(word)
        if len(found) == 1:
            code = found[0]
        else:
            code = self._words.count + len(self.starts)
            self.starts.append(len(self.pieces))
            self.lengths.append(len(found))
            self.pieces.extend(found)
        self[word] = code
        return code
