"""Contexts in a linker: who is asked, what it changes, what labels teach, and what a text costs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pgembed.errors import InvalidParameter
from pgembed.linking import contextual, passages, sense_labels
from pgembed.linking.contract import NIL, Example, Facts, Knowledge
from pgembed.linking.engine import Linker, Model, train

WORDS = ["planet", "sun", "orbit", "metal", "liquid", "poison", "engine", "boat", "motor", "crater", "alloy", "sail"]


class Words:
    """A dimension a word; counts what is embedded."""

    space = "words"

    def __init__(self, contexts: list[str | None]) -> None:
        self._contexts = contexts
        self.embedded: list[str] = []

    def embed(self, texts: list[str]) -> np.ndarray:
        self.embedded += texts
        return self._of(texts)

    def vectors(self, rows: list[int]) -> np.ndarray:
        return self._of([self._contexts[row] or "" for row in rows])

    def nearest(self, vectors: np.ndarray, k: int) -> list[list[int]]:
        cosine = vectors @ self.vectors(list(range(len(self._contexts)))).T
        return [np.argsort(-line, kind="stable")[:k].tolist() for line in cosine]

    def _of(self, texts: list[str]) -> np.ndarray:
        cut = [text.lower().replace(".", " ").split() for text in texts]
        return np.array([[1e-3 + words.count(word) for word in WORDS] for words in cut], np.float32).reshape(-1, len(WORDS))


CONTEXTS: list[str | None] = ["planet near the sun", "liquid metal and poison", "engine of a boat", "a sail of a boat", None]
NAMES = ["Mercury", "Mercury", "Mercury", "Genoa", "Berlin"]


def knowledge(facts: int = 0) -> Knowledge:
    """Three rows of one name; the last of them may have facts."""
    said = Facts(np.full(facts, 2), np.zeros(facts, np.int64), np.full(facts, NIL), [f"value {at}" for at in range(facts)])
    return Knowledge([str(at) for at in range(5)], list(NAMES), [()] * 5, [()] * 5, CONTEXTS, ["has"] if facts else [], said)


ASKED = [("A sun and an orbit: Mercury", 0), ("They spilt Mercury, a liquid", 1), ("The motor boat has a Mercury", 2)]


def meant(linker: Linker, content: str) -> tuple[int | None, float]:
    link = next(link for link in linker.link([content])[0] if link.mention == "Mercury")
    return link.row, link.score


@pytest.mark.parametrize("facts", [0, 12])  # how many facts a row has does not outweigh what the text is about
def test_homonyms_are_told_apart_by_their_contexts(facts: int) -> None:
    linker = Linker(knowledge(facts), Words(CONTEXTS))
    assert [meant(linker, content)[0] for content, _ in ASKED] == [row for _, row in ASKED]
    assert meant(Linker(knowledge()), ASKED[0][0])[1] < meant(linker, ASKED[0][0])[1]


def test_only_texts_with_undecided_mentions_are_embedded_and_each_once() -> None:
    dense = Words(CONTEXTS)
    linker = Linker(knowledge(), dense)
    linker.link(["Genoa and Berlin", ASKED[0][0], ASKED[0][0], "Nothing."])
    assert dense.embedded == [ASKED[0][0], "mercury"]
    linker.link([ASKED[0][0], f"Mercury. {ASKED[1][0]}. Mercury"])
    assert dense.embedded[2:] == [f"Mercury. {ASKED[1][0]}. Mercury"]


def test_rows_are_proposed_where_no_name_is_like_a_mention() -> None:
    dense = Words(CONTEXTS)
    content = "That Quicksilver is a liquid metal"
    span = [[(6, 17)]]
    assert Linker(knowledge(), dense).ranked([content], span)[0][0].rows[0] == 1
    assert Linker(knowledge()).ranked([content], span)[0][0].rows[0] != 1


def test_the_reasons_name_the_context() -> None:
    content = ASKED[1][0]
    at = content.index("Mercury") + 1
    found = Linker(knowledge(), Words(CONTEXTS)).explain(content, [(at, at + 7)], k=2)[0]
    row, _, reasons = found[0]
    said = next(reason for reason in reasons if reason.feature == "context")
    assert row == 1
    assert said.value > 0
    assert said.words == 'the text fits what is said of Mercury: "liquid metal and poison"'
    other = next(reason for reason in found[1][2] if reason.feature == "context")
    assert other.value < 0
    assert other.words.startswith("the text fits less what is said of Mercury")
    assert not [reason for reason in Linker(knowledge()).explain(content, [(at, at + 7)])[0][0][2] if reason.feature == "context"]


def test_a_long_text_is_read_around_its_mentions() -> None:
    content = "Mercury circles the sun. " + "Nothing else is said here. " * 40 + "They spilt Mercury, a liquid."
    dense = Words(CONTEXTS)
    found = [link.row for link in Linker(knowledge(), dense).link([content])[0] if link.mention == "Mercury"]
    assert found == [0, 1]
    assert all(len(text) <= passages.PASSAGE for text in dense.embedded)


def test_passages_are_whole_sentences_and_together_the_text() -> None:
    content = "One sentence. " * 60 + "x" * 1500 + " end. " + "Two \u3002" * 300
    borders = passages.borders(content)
    parts = [content[a:b] for a, b in itertools.pairwise(borders)]
    assert "".join(parts) == content
    assert max(map(len, parts)) <= passages.PASSAGE
    assert parts[0].endswith("One sentence. ")
    assert passages.borders("") == [0]


def test_candidates_that_are_called_otherwise_are_not_asked_about() -> None:
    mention, odds = np.array([0, 0, 0, 1, 1]), np.array([5.0, 3.0, 3.0, 2.0, 1.9])
    named = np.array([6.0, 6.0, 4.5, 1.0, 0.0])
    assert contextual.tied(mention, odds, named).tolist() == [0, 1, 3, 4]
    assert contextual.tied(mention[:0], odds[:0], named[:0]).tolist() == []
    changed = contextual.decided(mention, np.array([0, 1]), np.array([0.0, 2.0, np.nan, np.nan, np.nan], np.float32))
    assert changed.tolist() == [-2.0, 0.0, 0.0, 0.0, 0.0]


def labels(repeated: int = 30) -> list[Example]:
    """Texts whose words stand in no context: a crater means the planet, an alloy the metal, a sail the engine."""
    said = [("crater", "0"), ("alloy", "1"), ("sail", "2")]
    texts = [(f"{at} times a {word} of Mercury", key) for at in range(repeated) for word, key in said]
    spans = [[(content.index("Mercury") + 1, content.index("Mercury") + 8)] for content, _ in texts]
    return [Example(content, span, [key]) for (content, key), span in zip(texts, spans, strict=True)]


def test_what_was_learned_goes_with_vectors_and_the_rest_without() -> None:
    dense = Words(CONTEXTS)
    model = train(knowledge(), labels(), dense)
    assert model.space == "words"
    assert model.senses is not None
    again = Model.from_bytes(model.to_bytes())
    assert again.to_bytes() == model.to_bytes()
    content = [content for content, _ in ASKED]
    assert Linker(knowledge(), dense, again).link(content) == Linker(knowledge(), dense, model).link(content)
    assert Linker(knowledge(), None, model).link(content)  # a linker without vectors uses the rest
    plain = train(knowledge(), labels())
    assert (plain.space, plain.senses) == (None, None)
    assert Linker(knowledge(), dense, plain).link(content)
    other = Words(CONTEXTS)
    other.space = "others"
    with pytest.raises(InvalidParameter, match='vectors of "words", and its context has those of "others"'):
        Linker(knowledge(), other, model)


def test_few_labels_teach_no_senses() -> None:
    assert train(knowledge(), labels(5), Words(CONTEXTS)).senses is None
    nothing = np.empty(0, np.int64)
    assert sense_labels.learn(knowledge(), [], nothing, nothing, nothing, nothing, Words(CONTEXTS)) is None


def test_a_changed_row_is_compared_as_it_is_now() -> None:
    contexts = list(CONTEXTS)
    dense = Words(contexts)
    linker = Linker(knowledge(), dense)
    content = ASKED[0][0]
    assert meant(linker, content)[0] == 0
    contexts[0], contexts[2] = "engine of a boat", "planet near the sun"
    linker.forget_vectors()
    assert meant(linker, content)[0] == 2
    now = knowledge()
    now.context[0], now.context[2] = now.context[2], now.context[0]
    assert meant(linker.changed(now, [0, 2]), content)[0] == 2
