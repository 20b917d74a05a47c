"""Endpoints as they are registered: what is refused, where keys come from, what changes the fingerprint."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from pgembed import errors
from pgembed.models.endpoints.endpoint import Endpoint, fingerprint

URL = "https://api.example.com/v1"
KEY = "sk-live-0123456789abcdef"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://api.example.com/v1", "https://api.example.com/v1/embeddings"),
        ("https://api.example.com/v1/", "https://api.example.com/v1/embeddings"),
        ("HTTPS://API.Example.com:443/v1/embeddings", "https://api.example.com/v1/embeddings"),
        ("http://localhost:11434/v1", "http://localhost:11434/v1/embeddings"),
        ("http://[::1]:8080", "http://[::1]:8080/embeddings"),
        ("http://host", "http://host/embeddings"),
    ],
)
def test_requests_go_to_embeddings_below_the_base(url: str, address: str) -> None:
    assert str(Endpoint(url, "m").address) == address


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://host/v1", "must begin with http:// or https://"),
        ("file:///etc/passwd", "must begin with http:// or https://"),
        ("host/v1", "must begin with http:// or https://"),
        ("", "printable ASCII"),
        ("https://", "names no host"),
        ("https:///v1", "names no host"),
        ("https://host:0/v1", "port 0"),
        ("https://host:99999/v1", "none that can be read"),
        ("https://[::1/v1", "none that can be read"),
        (f"https://user:{KEY}@host/v1", "no user, password"),
        (f"https://{KEY}@host/v1", "no user, password"),
        (f"https://host/v1?api_key={KEY}", "query"),
        ("https://host/v1?", "query"),
        (f"https://host/v1#{KEY}", "fragment"),
        ("https://host/v1\r\nX: y", "printable ASCII"),
        ("https://ho st/v1", "printable ASCII"),
        ("https://höst/v1", "printable ASCII"),
        ("https://host\\@evil/v1", "printable ASCII"),
    ],
)
def test_a_url_that_is_none_or_may_hold_a_secret_is_refused_without_being_quoted(url: str, message: str) -> None:
    with pytest.raises(errors.InvalidParameter, match=message) as caught:
        Endpoint(url, "m")
    assert KEY not in f"{caught.value}{caught.value.hint}{caught.value.detail}"
    assert caught.value.hint


@pytest.mark.parametrize("api_key", [KEY, "", "env:", "env:A B", "env:1A", "env:A=B", "file:relative", "file:", "http://x", "env:A\n"])
def test_a_key_itself_is_refused_and_not_quoted(api_key: str) -> None:
    with pytest.raises(errors.InvalidParameter, match="say where the key is") as caught:
        Endpoint(URL, "m", api_key)
    assert KEY not in f"{caught.value}{caught.value.hint}{caught.value.detail}"
    assert "have the key replaced" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 2049),
        ("batch_size", 1.5),
        ("batch_size", True),
        ("batch_size", "64"),
        ("batch_chars", 0),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("timeout", [1]),
        ("retries", -1),
        ("retries", 21),
        ("deadline", 0),
        ("dimensions", 0),
        ("dimensions", 16_001),
        ("gives", 0),
        ("max_tokens", 0),
    ],
)
def test_options_out_of_their_range_are_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(errors.InvalidParameter, match=f"^{option} must be a (whole )?number from") as caught:
        Endpoint.parse(URL, "m", None, {option: value})
    assert caught.value.sqlstate == "22023"


@pytest.mark.parametrize("ca_file", ["relative.pem", 3, "/a\nb"])
def test_certificates_are_an_absolute_path(ca_file: object) -> None:
    with pytest.raises(errors.InvalidParameter, match="ca_file must be an absolute path"):
        Endpoint.parse(URL, "m", None, {"ca_file": ca_file})


@pytest.mark.parametrize("model", ["", "a\nb", "x" * 301, None])
def test_a_model_has_a_printable_name(model: Any) -> None:
    with pytest.raises(errors.InvalidParameter, match="remote_model must be"):
        Endpoint(URL, model)


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(errors.InvalidParameter, match='unknown option "tiemout"') as caught:
        Endpoint.parse(URL, "m", None, {"tiemout": 3})
    assert "timeout" in str(caught.value.hint)


@pytest.mark.parametrize("options", ["[1]", '"timeout"', "3"])
def test_options_are_an_object(options: str) -> None:
    with pytest.raises(errors.InvalidParameter, match="options must be a JSON object"):
        Endpoint.parse(URL, "m", None, options)


def test_options_come_back_as_they_were_given() -> None:
    given = {"batch_size": 10, "timeout": 2, "dimensions": 256, "gives": 512, "ca_file": "/a.pem", "max_tokens": 8192}
    made = Endpoint.parse(URL, "m", "env:KEY", given)
    assert made.options() == given
    assert Endpoint.parse(URL, "m", "env:KEY", made.options()) == made
    assert Endpoint.parse(URL, "m", None, '{"batch_size": null}') == Endpoint.parse(URL, "m") == Endpoint(URL, "m")
    assert Endpoint(URL, "m").options() == {}


# Keys -------------------------------------------------------------------------------------------------------------------------


def test_a_key_is_read_from_the_environment_at_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint(URL, "m", "env:PGEMBED_TEST_KEY")
    monkeypatch.setenv("PGEMBED_TEST_KEY", f" {KEY}\n")
    assert endpoint.key() == KEY
    monkeypatch.setenv("PGEMBED_TEST_KEY", "another")
    assert endpoint.key() == "another"
    assert KEY not in repr(endpoint)


def test_a_key_is_read_from_a_file_at_each_call(tmp_path: Path) -> None:
    endpoint = Endpoint(URL, "m", f"file:{tmp_path}/key")
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert endpoint.key() == KEY
    (tmp_path / "key").write_text("another")
    assert endpoint.key() == "another"


def test_without_a_name_there_is_no_key() -> None:
    assert Endpoint(URL, "m").key() is None


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGEMBED_TEST_KEY", raising=False)
    with pytest.raises(errors.NotReady, match='variable "PGEMBED_TEST_KEY" with the key of') as caught:
        Endpoint(URL, "m", "env:PGEMBED_TEST_KEY").key()
    assert "restart the server" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("content", "said"), [("", "is empty"), ("\n", "is empty"), ("a\r\nX: y", "has characters"), ("klö", "has characters")]
)
def test_a_key_that_no_header_can_hold_is_refused_unquoted(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "key").write_text(content)
    with pytest.raises(errors.NotReady, match=said) as caught:
        Endpoint(URL, "m", f"file:{tmp_path}/key").key()
    assert "X: y" not in f"{caught.value}{caught.value.hint}"
    assert f"{tmp_path}/key" in str(caught.value.hint)


def test_a_file_that_is_missing_or_no_plain_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.FileMissing, match="does not exist"):
        Endpoint(URL, "m", f"file:{tmp_path}/key").key()
    with pytest.raises(errors.NotReady, match="not a plain file"):
        Endpoint(URL, "m", f"file:{tmp_path}").key()
    with pytest.raises(errors.NotReady, match="cannot be read"):
        Endpoint(URL, "m", f"file:{tmp_path}/{'x' * 300}").key()
    (tmp_path / "long").write_text("x" * 20_000)
    with pytest.raises(errors.NotReady, match="more than 16384 bytes"):
        Endpoint(URL, "m", f"file:{tmp_path}/long").key()


def test_a_pipe_instead_of_a_file_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(errors.NotReady, match="not a plain file"):
        Endpoint(URL, "m", f"file:{tmp_path}/pipe").key()


@pytest.mark.parametrize(
    ("url", "in_clear"),
    [
        ("http://localhost:11434/v1", False),
        ("http://127.0.0.1/v1", False),
        ("http://[::1]/v1", False),
        ("https://host/v1", False),
        ("http://host/v1", True),
    ],
)
def test_a_key_on_an_open_line_is_seen(url: str, in_clear: bool) -> None:
    assert Endpoint(url, "m", "env:KEY").sends_key_in_clear is in_clear
    assert not Endpoint(url, "m").sends_key_in_clear


# Fingerprint ------------------------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_of_what_decides_the_vectors_only() -> None:
    endpoint = Endpoint(URL, "m")
    same = fingerprint(endpoint, 8, True)
    assert len(same) == 64
    calls = {"batch_size": 3, "timeout": 1.0, "retries": 0, "deadline": 5.0, "api_key": "env:KEY", "batch_chars": 9, "max_tokens": 5}
    for name, value in calls.items():
        assert fingerprint(dataclasses.replace(endpoint, **{name: value}), 8, True) == same
    assert fingerprint(Endpoint("HTTPS://api.example.com:443/v1/embeddings", "m"), 8, True) == same
    others = [
        fingerprint(Endpoint(URL, "n"), 8, True),
        fingerprint(Endpoint("https://other.example.com/v1", "m"), 8, True),
        fingerprint(Endpoint(URL, "m", dimensions=8), 8, True),
        fingerprint(endpoint, 4, True),
        fingerprint(endpoint, 8, False),
    ]
    assert len({same, *others}) == 6
