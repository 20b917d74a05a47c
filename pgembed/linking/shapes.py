"""What looks like a name whatever the names are: capitals within a sentence, quotation, and the spelling of identifiers."""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pgembed.linking import ordinary

_TOKEN = re.compile("\\w(?:[\\w'\u2019.-]*\\w)?")
# An identifier has an underscore or a capital inside; `…` and "…" name what is between them when it is short.
_CODE = re.compile(r"`(?P<code>[^`\n]{1,80})`|[\"“](?P<quoted>[^\"“”\n]{2,60})[\"”]|(?<!\w)(?P<identifier>[^\W\d_]\w*_\w+|[a-z]+[A-Z]\w*)")
_JOINING = "of the de la del le von van der den du di da do dos al el bin & y"
_OF = frozenset(_JOINING.split())
_SENTENCE_END = ".!?:;\n"
_LONGEST = 8  # words of a proper name; more capitals in a row are a headline
_QUOTED_WORDS = 5
_LONGEST_CODE = 100  # characters


@dataclass(frozen=True)
class Span:
    """A place in the text, 0-based and end exclusive; ``is_code`` where it is one identifier.

    ``certain`` is where it begins for certain: the word before, at the head of a sentence, may owe its capital to that.
    """

    start: int
    end: int
    is_code: bool
    certain: int


@dataclass(frozen=True)
class Proper:
    """The proper names of a text, in order, not overlapping."""

    text: str
    spans: Sequence[Span]

    def begins_sentence(self, start: int) -> bool:
        """Whether a capital at this place says nothing."""
        before = self.text[:start] if start < 8 else self.text[start - 8 : start]
        before = before.rstrip(" \t\"'\u201c\u2018(*-\u2022")
        return not before or before[-1] in _SENTENCE_END

    def is_name(self, start: int, end: int, names: Sequence[str], words: Sequence[str]) -> bool:
        """Whether ordinary words are written here as a name: in several words, as code, or with the capital of the name."""
        if len(words) > 1 and not ordinary.FUNCTION_WORDS.issuperset(words):
            return True
        text = self.text[start:end]
        around = self.text[max(0, start - 1) : start] + self.text[end : end + 1]
        if "_" in text or "`" in around or around in ('""', "“”") or re.match(r"\(|\s?=", self.text[end : end + 2]):
            return True
        if not any(letter.isupper() for name in names for letter in name):
            return False
        last = text.split()[-1]
        # "US" is a country and "us" is not; "It" begins a sentence
        return last[:1].isupper() and (len(words) > 1 or text.isupper() or not self.begins_sentence(start) or len(text) > 3)


def proper(text: str) -> Proper:
    """Find the proper names of a text."""
    code: list[Span] = []
    for found in _CODE.finditer(text):
        start, end = found.span(found.lastgroup or 0)
        if _is_short(found):
            code.append(Span(start, end, found.lastgroup == "identifier", start))
    starts = [span.start for span in code]
    capitals = [
        Span(start, end, False, certain)
        for start, end, certain in _capitals(text)
        if not any(
            span.start < end and start < span.end
            for span in code[max(0, bisect.bisect_right(starts, start) - 1) : bisect.bisect_right(starts, end)]
        )
    ]
    return Proper(text, sorted([*code, *capitals], key=lambda span: span.start))


def is_derived(key: str, other: str, text: str) -> bool:
    """Whether a single capitalised word and a name differ at their end only: "American" is no misspelt "America"."""
    return text[:1].isupper() and text.isalpha() and (key.startswith(other) or other.startswith(key)) and key != other


def _is_short(found: re.Match[str]) -> bool:
    inside = found[found.lastgroup or 0]
    return bool(inside.strip()) and len(inside) <= _LONGEST_CODE and (found.lastgroup != "quoted" or len(inside.split()) <= _QUOTED_WORDS)


def _capitals(text: str) -> list[tuple[int, int, int]]:
    """Runs of capitalised words, joined by words like "of", without an ordinary word at the head of a sentence."""
    runs: list[list[tuple[int, int]]] = []
    run: list[tuple[int, int]] = []
    waiting: list[tuple[int, int]] = []  # words like "of", kept if another capital follows
    for token in _TOKEN.finditer(text):
        start, end = token.span()
        word = text[start:end]
        last = (waiting or run or [(0, -2)])[-1][1]
        joined = text[last:start] in (" ", "-", ", Jr") if last >= 0 else False
        if not joined:
            runs.append(run)
            run, waiting = [], []
        if word[0].isupper() or (run and not waiting and word[0].isdigit()):
            run += [*waiting, (start, end)]
            waiting = []
        elif run and word in _OF and len(waiting) < 2:
            waiting.append((start, end))
        else:
            runs.append(run)
            run, waiting = [], []
    runs.append(run)
    return [span for run in runs if (span := _trimmed(text, run))]


def _trimmed(text: str, run: list[tuple[int, int]]) -> tuple[int, int, int] | None:
    if len(run) > _LONGEST:
        return None
    while run:
        word = text[run[0][0] : run[0][1]].lower()
        if word not in ordinary.FUNCTION_WORDS and not (word in ordinary.WORDS and _heads_sentence(text, run[0][0])):
            break
        run = run[1:]
    while run and text[run[-1][0] : run[-1][1]].lower() in ordinary.FUNCTION_WORDS:
        run = run[:-1]
    if not run:
        return None
    start, end = run[0][0], run[-1][1]
    if text[start:end].endswith(("'s", "\u2019s")):
        end -= 2
    # "Mr" is no name, "EU" is
    if end - start < (2 if text[start:end].isupper() else 3):
        return None
    return start, end, run[1][0] if len(run) > 1 and _heads_sentence(text, start) else start


def _heads_sentence(text: str, start: int) -> bool:
    return Proper(text, ()).begins_sentence(start)
