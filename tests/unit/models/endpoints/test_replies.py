"""What an answer means: vectors, waits that are asked for, and words that may be shown."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import numpy as np
import pytest
from fake_endpoint import as_json, base64_of, item, vector

from pgembed.models.endpoints import replies
from pgembed.models.endpoints.endpoint import Endpoint
from pgembed.models.endpoints.exchange import Answer

KEY = "sk-live-0123456789abcdef"
ENDPOINT = Endpoint("https://api.example.com/v1", "m", "env:THE_KEY")


def vectors(data: object, count: int = 2, dim: int | None = 8) -> tuple[np.ndarray, dict[int, str]]:
    return replies.vectors_of(Answer(200, {}, as_json({"data": data})), None, ["some text"] * count, dim)


def failure(status: int, said: object = None, *, texts: list[str] | None = None, **headers: str) -> replies.Failure:
    return replies.of_answer(Answer(status, headers, as_json(said)), ENDPOINT, KEY, texts or ["a text"], now=1_000_000_000)


# Vectors ----------------------------------------------------------------------------------------------------------------------


def test_vectors_are_placed_by_their_index() -> None:
    made, bad = vectors([item(1, vector("b")), item(0, vector("a"))])
    np.testing.assert_array_equal(made, np.array([vector("a"), vector("b")], np.float32))
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    assert bad == {}


def test_base64_is_read_as_little_endian_floats() -> None:
    made, _ = vectors([item(0, base64_of(vector("a"))), item(1, vector("b"))])
    np.testing.assert_array_equal(made, np.array([vector("a"), vector("b")], np.float32))


def test_whole_numbers_are_numbers() -> None:
    made, bad = vectors([item(0, [1, 0, 2**70, 0.5])], 1, 4)
    np.testing.assert_array_equal(made, np.array([[1, 0, 2**70, 0.5]], np.float32))
    assert bad == {}


@pytest.mark.parametrize(
    "indexes",
    [(0, 0), (0, 2), (0, -1), (0, None), (0, "1"), (0, 1.0), (0, True)],
    ids=["twice", "too large", "negative", "missing", "text", "float", "boolean"],
)
def test_an_index_that_is_none_is_refused(indexes: tuple[object, object]) -> None:
    with pytest.raises(replies.Misfit, match="index that is missing, twice there, or not from 0 to 1"):
        vectors([item(index, vector("a")) for index in indexes])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_count_of_vectors_is_refused(count: int) -> None:
    with pytest.raises(replies.Misfit, match=f"{count} vectors for 2 texts"):
        vectors([item(index, vector("a")) for index in range(count)])


def test_other_dimensions_are_told() -> None:
    with pytest.raises(replies.Misfit, match="vectors of 4 dimensions, expected 8") as caught:
        vectors([item(0, [1, 2, 3, 4]), item(1, [1, 2, 3, 4])])
    assert caught.value.dim == 4
    with pytest.raises(replies.Misfit, match="vectors of 3 dimensions, expected 4"):
        vectors([item(0, [1, 2, 3, 4]), item(1, [1, 2, 3])], dim=None)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf"), 1e39, 10**400, None])
def test_a_number_that_is_none_spoils_its_own_vector_only(number: float | None) -> None:
    made, bad = vectors([item(0, [number, *vector("a", 7)]), item(1, vector("b"))])
    assert bad == {0: "its vector has NaN or infinity"}
    np.testing.assert_array_equal(made[1], np.array(vector("b"), np.float32))
    assert not made[0].any()


def test_a_vector_of_zeros_is_none_unless_the_text_is_empty() -> None:
    data = as_json({"data": [item(0, [0.0] * 8), item(1, [0.0] * 8)]})
    _, bad = replies.vectors_of(Answer(200, {}, data), None, ["a", " "], 8)
    assert bad == {0: "its vector is all zeros"}


@pytest.mark.parametrize(
    "embedding",
    [["1", "2"], [True, 0.5], [[1.0], [2.0]], [{}], [], {}, None, 3, "###", "AAA=", "", base64_of([1.0])[:-2]],
)
def test_what_is_no_list_of_numbers_is_refused(embedding: object) -> None:
    with pytest.raises(replies.Misfit, match="answered with a vector"):
        vectors([item(0, embedding)], 1, None)


@pytest.mark.parametrize("said", [[], {}, None, 3, "x", {"data": None}, {"data": {}}, {"embeddings": [[1]]}])
def test_another_form_of_answer_is_refused(said: object) -> None:
    with pytest.raises(replies.Misfit, match="without the list data"):
        replies.vectors_of(Answer(200, {}, as_json(said)), None, ["a"], None)


@pytest.mark.parametrize("line", [None, [], "x"])
def test_a_line_that_is_no_object_is_refused(line: object) -> None:
    with pytest.raises(replies.Misfit, match="index that is missing"):
        vectors([line], 1)


@pytest.mark.parametrize("body", [b"", b"<html>hello", b'{"data": [', b"\xff\xfe\xfd", b"[" * 100_000, b"9" * 5000])
def test_what_is_not_json_is_refused_and_described(body: bytes) -> None:
    with pytest.raises(replies.Misfit, match=rf"not JSON: {len(body)} bytes, text/html") as caught:
        replies.vectors_of(Answer(200, {"content-type": "text/html; charset=x"}, body), None, ["a"], None)
    assert "hello" not in caught.value.reason


def test_an_error_that_comes_as_success_is_quoted_without_the_key() -> None:
    answer = Answer(200, {}, as_json({"error": {"message": f"no credit for {KEY}"}}))
    with pytest.raises(replies.Misfit) as caught:
        replies.vectors_of(answer, KEY, ["a"], None)
    assert caught.value.detail == "It said: no credit for ***"


# Failures ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 502, 503, 504, 408])
def test_what_passes_is_tried_again_whole(status: int) -> None:
    made = failure(status)
    assert (made.passes, made.at_fault, made.tries > 100) == (True, False, True)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_may_be_a_texts_fault_is_not_tried_again_whole(status: int) -> None:
    made = failure(status)
    assert (made.passes, made.at_fault, made.tries) == (False, True, 0)


def test_a_fault_of_the_server_may_be_either() -> None:
    made = failure(500)
    assert (made.passes, made.at_fault, made.tries > 100) == (True, True, True)


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 401, 402, 403, 404, 405, 418, 501])
def test_what_lasts_is_not_tried_again(status: int) -> None:
    made = failure(status)
    assert (made.passes, made.at_fault, made.tries) == (False, False, 0)
    assert made.hint


def test_a_key_that_is_not_accepted_is_told_by_its_place() -> None:
    assert 'environment variable "THE_KEY" of the server\'s process' in str(failure(401).hint)
    assert "HTTP 403" in failure(403).reason


def test_an_exhausted_quota_does_not_come_back_by_waiting() -> None:
    made = failure(429, {"error": {"message": "You exceeded", "code": "insufficient_quota"}})
    assert (made.passes, made.tries) == (False, 0)
    assert "quota" in made.reason


def test_a_redirect_is_told_without_what_a_url_may_hide() -> None:
    made = failure(307, location=f"https://user:pw@other.example.com/v2/embeddings?token={KEY}")
    assert "https://other.example.com/v2/embeddings;" in str(made.hint)
    assert "pw" not in str(made.hint)
    assert "token" not in str(made.hint)
    assert failure(302, location="http://[").hint == "Register its final URL."


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("1.5", 1.5),
        (format_datetime(datetime.fromtimestamp(1_000_000_042, UTC), usegmt=True), 42.0),
        (format_datetime(datetime.fromtimestamp(999_999_000, UTC), usegmt=True), 0.0),
        ("", None),
        ("-3", None),
        ("soon", None),
        ("1e9", None),
        ("9" * 50, None),
        ("Sun, 99 Nov 9999 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(said: str, seconds: float | None) -> None:
    assert replies.retry_after(said, 1_000_000_000) == seconds


@pytest.mark.parametrize(
    "said",
    [
        {"error": {"message": "too long"}},
        {"error": "too long"},
        {"message": "too long"},
        {"detail": "too long"},
        {"detail": [{"loc": ["body"], "msg": "too long", "input": ["the text"]}]},
    ],
)
def test_the_words_of_an_error_are_found_in_the_forms_that_servers_have(said: object) -> None:
    assert failure(400, said).detail == "It said: too long"


@pytest.mark.parametrize("said", [None, 3, [], {}, {"input": "the text"}, {"error": {"input": "the text"}}, {"error": {"message": 3}}, "x"])
def test_nothing_but_words_is_shown(said: object) -> None:
    assert failure(400, said).detail in (None, "It said: x")


# Secrets ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "echo",
    [KEY, KEY[:12] + "...", "..." + KEY[-8:], " ".join(KEY[start : start + 8] for start in range(0, 24, 8)), f'{{"k":"{KEY}"}}', KEY * 3],
)
def test_a_key_is_not_shown_even_in_part(echo: str) -> None:
    shown = replies.masked(f"Incorrect API key provided: {echo}. Sorry.", KEY, [])
    assert shown.startswith("Incorrect API key provided: ")
    assert shown.endswith(". Sorry.")
    assert not any(KEY[start : start + 6] in shown for start in range(len(KEY) - 5))


def test_a_key_at_the_place_where_words_are_cut_is_not_shown_either() -> None:
    for before in range(1960, 2001):
        shown = replies.masked(" ".join(["word"] * 40) + "x" * before + KEY, KEY, [])
        assert "sk-liv" not in shown


def test_texts_are_not_shown() -> None:
    texts = ["the patient suffers from\n  insomnia", "4711", "a"]
    shown = replies.masked("cannot embed 'the patient suffers from insomnia', '4711' and 'a', 14711 is fine", None, texts)
    assert shown == "cannot embed '***', '***' and '***', 14711 is fine"
    assert "insomnia" not in replies.masked("... suffers from insomnia ...", None, texts)


def test_words_are_one_line_of_printable_characters() -> None:
    assert replies.masked("a\n\x1b[31mb\x00\tc\u202e", None, []) == "a [31mb c"
    assert len(replies.masked("word " * 1000, None, [])) == 303
