"""The registry of installed models: names, descriptions, the session's cache."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgembed import errors, models
from pgembed.models import store

DESCRIPTION: dict[str, Any] = {
    "name": "small",
    "kind": "transformer",
    "dim": 8,
    "max_tokens": 16,
    "normalized": True,
    "precision": "fp32",
    "source": "a test",
    "source_sha256": "0" * 64,
    "source_revision": "1",
    "fingerprint": "f" * 64,
    "revision": 1,
    "layers": 2,
    "query_prompt": "",
    "document_prompt": "",
    "basis": "none",
    "files": {"model.onnx": {"size": 3, "sha256": "0" * 64}},
}


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory of models."""
    monkeypatch.setattr(store, "models_dir", lambda: tmp_path)
    models.forget()
    yield tmp_path
    models.forget()


def install(room: Path, **changes: Any) -> Path:
    """A model of which the description is whole and the graph is three bytes."""
    description = DESCRIPTION | changes
    home = room / str(description["name"])
    place = home / str(description["fingerprint"])[:16]
    place.mkdir(parents=True)
    (home / "current").symlink_to(place.name)
    (place / "model.json").write_text(json.dumps(description), encoding="utf-8")
    (place / "model.onnx").write_bytes(b"abc")
    return place


def test_models_belong_to_the_environment_that_the_package_is_installed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "__file__", "/srv/env/lib/python3.11/site-packages/pgembed/models/store.py")
    assert models.models_dir() == Path("/srv/env/share/pgembed/models")


def test_a_checkout_uses_the_environment_that_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "__file__", "/home/me/project/pgembed/models/store.py")
    assert models.models_dir() == Path(sys.prefix) / "share" / "pgembed" / "models"


def test_installed_lists_models_by_name(room: Path) -> None:
    install(room, name="b")
    install(room, name="a")
    (room / ".c.half").mkdir()
    (room / "notes").mkdir()
    assert [info.name for info in models.installed()] == ["a", "b"]


def test_nothing_is_installed_where_there_is_no_directory(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "models_dir", lambda: room / "missing")
    assert models.installed() == []


def test_info_is_what_the_description_says(room: Path) -> None:
    install(room)
    info = models.info("small")
    assert (info.dim, info.max_tokens, info.normalized, info.fingerprint) == (8, 16, True, "f" * 64)


def test_an_unknown_model_is_answered_with_the_known_ones(room: Path) -> None:
    install(room, name="a")
    install(room, name="b")
    with pytest.raises(errors.UnknownObject, match='model "c" does not exist') as caught:
        models.load("c")
    assert caught.value.sqlstate == "42704"
    assert caught.value.hint == "Installed models: a, b."


def test_an_unknown_model_where_none_is_installed_names_the_directory(room: Path) -> None:
    with pytest.raises(errors.UnknownObject) as caught:
        models.load("c")
    assert caught.value.hint == f'No model is installed in "{room}".'


@pytest.mark.parametrize("name", ["", ".", "..", "../small", "a/b", "/etc", "a\\b", ".small", "-x", "a\0", "a\n", "ä", "a" * 64])
def test_a_name_is_one_plain_path_component(room: Path, name: str) -> None:
    install(room)
    with pytest.raises(errors.InvalidParameter, match="invalid model name") as caught:
        models.load(name)
    assert caught.value.sqlstate == "22023"
    assert "letters, digits" in str(caught.value.hint)


def test_a_missing_file_is_named(room: Path) -> None:
    (install(room) / "model.onnx").unlink()
    with pytest.raises(errors.FileMissing, match=r'model\.onnx" does not exist') as caught:
        models.load("small")
    assert (caught.value.sqlstate, caught.value.hint) == ("58P01", "Install the model again.")


def test_a_directory_without_description_is_a_missing_file(room: Path) -> None:
    (room / "small" / "current").mkdir(parents=True)
    with pytest.raises(errors.FileMissing, match=r"model\.json"):
        models.load("small")


def test_a_file_of_another_size_is_damaged(room: Path) -> None:
    (install(room) / "model.onnx").write_bytes(b"ab")
    with pytest.raises(errors.FileDamaged, match="has 2 bytes, expected 3") as caught:
        models.load("small")
    assert caught.value.sqlstate == "F0000"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"files": 3}', '{"files": {"a": {}}}', "null", '{"files": {}}'])
def test_a_description_that_is_none_is_damaged(room: Path, text: str) -> None:
    (install(room) / "model.json").write_text(text, encoding="utf-8")
    with pytest.raises(errors.FileDamaged, match="is not a model's description"):
        models.installed()


def test_a_kind_of_a_later_version_is_not_supported(room: Path) -> None:
    install(room, kind="audio")
    with pytest.raises(errors.NotSupported, match='is of kind "audio"') as caught:
        models.load("small")
    assert caught.value.sqlstate == "0A000"
