"""Which model a name means: registered ones first, one look at the database, nothing loaded twice. The database is a stand-in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgembed import catalogue, database, errors, models
from pgembed.database import Row
from pgembed.models import basis, store

BASE = models.ModelInfo(
    name="base",
    kind="transformer",
    dim=8,
    max_tokens=16,
    normalized=True,
    precision="fp32",
    source="a test",
    source_sha256="",
    source_revision="",
    fingerprint="f" * 64,
    layers=2,
)


class Kind:
    """A kind of model that gives the length of a text, and counts how often one was opened."""

    opened = 0

    def __init__(self, info: models.ModelInfo) -> None:
        Kind.opened += 1
        self.info = info

    def encode(self, texts: Sequence[str], check: Any = None, role: models.Role = "document") -> models.Encoded:
        made = np.zeros((len(texts), 8), np.float32)
        made[:, 0] = [len(text) for text in texts]
        return models.Encoded(made, np.zeros(len(texts), np.bool_))

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return []

    def token_count(self, text: str) -> int:
        return 0


class Rows:
    """A database with a registry of models; ``asked`` are the statements that it was given."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.default: str | None = None
        self.asked: list[str] = []

    def execute(self, statement: str, types: Sequence[str] = (), values: Sequence[object] = ()) -> list[Row]:
        self.asked.append(statement)
        if statement == catalogue._FIND:
            name = values[0] or self.default or values[2]
            for row in self.rows:
                if row["name"] == name and (row["is_current"] if values[1] is None else row["fingerprint"] == values[1]):
                    return [{**row, "threads": None}]
            return [{"name": name, "fingerprint": None, "kind": None, "in_backends": None, "version": None, "threads": None}]
        if "FROM pgembed._model WHERE name OPERATOR(pg_catalog.=) $1 AND fingerprint" in statement:
            return [row for row in self.rows if (row["name"], row["fingerprint"]) == tuple(values)]
        if "FROM pgembed._model" in statement:
            return [row for row in self.rows if not values or row["name"] == values[0]]
        assert "pg_database" in statement
        return [{"oid": 7}]

    def prepare(self, statement: str, types: Sequence[str] = ()) -> None:
        raise AssertionError(statement)

    def commit(self) -> bool:
        raise AssertionError

    def subtransaction(self) -> AbstractContextManager[object]:
        raise AssertionError

    def check_interrupts(self) -> None:
        pass

    def notice(self, message: str, *, hint: str | None = None) -> None:
        raise AssertionError(message)

    def warning(self, message: str, *, hint: str | None = None) -> None:
        raise AssertionError(message)

    def add(self, **changes: object) -> None:
        """A row that says what BASE is, with changes."""
        plain = dataclasses.asdict(BASE)
        self.rows.append(
            {
                **{name: plain[name] for name in ("kind", "dim", "max_tokens", "normalized", "precision", "layers", "basis")},
                **{"name": "mine", "revision": 1, "fingerprint": "a" * 64, "source": "base", "source_fingerprint": BASE.fingerprint},
                **{"query_prompt": "", "document_prompt": "", "remote_model": None, "api_key": None, "options": None},
                **{"in_backends": False, "is_current": True, "basis_matrix": None, "version": "1"},
                **changes,
            }
        )


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rows]:
    """A server on which "base" is installed, and a registry with nothing in it."""
    monkeypatch.setattr(store, "models_dir", lambda: tmp_path)
    monkeypatch.setattr(models, "_open_kind", lambda info, place: Kind(info))
    monkeypatch.setattr(database, "server_folder", None)
    with store.new_revision(tmp_path, BASE) as work:
        assert work is not None
        (work / "model.onnx").write_bytes(b"abc")
    catalogue.forget()
    models.forget()
    Kind.opened = 0
    yield Rows()
    catalogue.forget()
    models.forget()


def lengths(model: models.Model, role: models.Role = "document") -> list[float]:
    return [float(number) for number in model.encode(["a", "abc"], role=role).vectors[:, 0]]


def test_an_installed_model_is_what_its_name_says(db: Rows) -> None:
    assert catalogue.describe(db, "base") == BASE
    assert catalogue.describe(db, "base", BASE.fingerprint) == BASE
    assert catalogue.resolve(db, "base", by_backend=True).info == BASE


def test_a_registered_name_comes_first(db: Rows) -> None:
    db.add(name="base", query_prompt="q: ")
    assert catalogue.describe(db, "base").query_prompt == "q: "
    assert lengths(catalogue.resolve(db, "base", by_backend=True), "query") == [4, 6]
    # the revision that is installed is still to be had by those who were made with it
    assert catalogue.describe(db, "base", BASE.fingerprint) == BASE
    assert lengths(catalogue.resolve(db, "base", BASE.fingerprint, by_backend=True), "query") == [1, 3]


def test_the_default_is_the_databases_own_then_ours(db: Rows) -> None:
    assert catalogue.default_model(db) == catalogue.DEFAULT_MODEL
    db.default = "base"
    assert catalogue.default_model(db) == "base"
    assert catalogue.describe(db, None) == BASE
    db.add(name="mine")
    db.default = "mine"
    assert catalogue.resolve(db, None, by_backend=True).info.name == "mine"


def test_a_column_gets_the_revision_that_it_was_made_with(db: Rows) -> None:
    db.add(fingerprint="a" * 64, query_prompt="old: ", is_current=False)
    db.add(fingerprint="b" * 64, query_prompt="newer: ", revision=2)
    assert catalogue.describe(db, "mine").revision == 2
    assert lengths(catalogue.resolve(db, "mine", "a" * 64, by_backend=True), "query") == [6, 8]
    assert lengths(catalogue.resolve(db, "mine", "b" * 64, by_backend=True), "query") == [8, 10]
    assert lengths(catalogue.resolve(db, "mine", by_backend=True), "query") == [8, 10]


@pytest.mark.parametrize("name", ["base", "mine"])
def test_a_session_asks_once_for_a_fingerprint(db: Rows, name: str) -> None:
    db.add()
    fingerprint = catalogue.resolve(db, name, by_backend=True).info.fingerprint
    catalogue.resolve(db, name, fingerprint, by_backend=True)
    before = len(db.asked)
    for _ in range(5):
        catalogue.resolve(db, name, fingerprint, by_backend=True)
    assert len(db.asked) == before
    for _ in range(5):
        catalogue.resolve(db, name, by_backend=True)
    # what a name points to may change: one look each time
    assert len(db.asked) == before + 5
    assert Kind.opened == 1


def test_names_with_the_same_files_share_the_loaded_model(db: Rows) -> None:
    for number in range(20):
        db.add(name=f"m{number}", fingerprint=f"{number:064d}", query_prompt="q" * number)
    for _ in range(2):
        for number in range(20):
            assert lengths(catalogue.resolve(db, f"m{number}", by_backend=True), "query") == [number + 1, number + 3]
    assert Kind.opened == 1
    assert len(catalogue._recipes) == catalogue.CACHED_RECIPES


def test_a_basis_is_read_with_the_model(db: Rows) -> None:
    matrix = basis.rotation(8, "ab")
    db.add(basis="rotation", basis_matrix=basis.to_bytes(matrix))
    made = catalogue.resolve(db, "mine", by_backend=True).encode(["abc"]).vectors[0]
    assert made == pytest.approx(3 * matrix[:, 0])
    assert "basis_matrix" not in catalogue.COLUMNS


def test_fewer_layers_are_of_the_files(db: Rows) -> None:
    db.add(layers=1)
    model = catalogue.resolve(db, "mine", by_backend=True)
    assert model.info.layers == 1
    assert model.info.fingerprint == "a" * 64


def test_a_remote_model_is_for_refresh_unless_it_was_granted(db: Rows) -> None:
    remote = {"kind": "remote", "source": "http://localhost:1/v1", "source_fingerprint": "", "remote_model": "m", "layers": 0}
    db.add(**remote)
    refresh = catalogue.resolve(db, "mine", by_backend=False)
    assert refresh.info.kind == "remote"
    for fingerprint in (None, "a" * 64):
        with pytest.raises(errors.InsufficientPrivilege, match=r"over the network") as caught:
            catalogue.resolve(db, "mine", fingerprint, by_backend=True)
        assert "pgembed.grant_model('mine')" in str(caught.value.hint)
    db.rows[0]["in_backends"] = True
    assert catalogue.resolve(db, "mine", "a" * 64, by_backend=True).info == refresh.info
    db.rows[0]["in_backends"] = False
    with pytest.raises(errors.InsufficientPrivilege):
        catalogue.resolve(db, "mine", "a" * 64, by_backend=True)


def test_a_changed_line_of_the_registry_is_read_again(db: Rows) -> None:
    remote = {"kind": "remote", "source": "http://localhost:1/v1", "source_fingerprint": "", "remote_model": "m", "layers": 0}
    db.add(**remote, api_key="env:OLD")
    catalogue.resolve(db, "mine", "a" * 64, by_backend=False)
    first = catalogue.recipe(db, "mine", "a" * 64).endpoint
    db.rows[0].update(api_key="env:NEW", version="2")
    catalogue.resolve(db, "mine", "a" * 64, by_backend=False)
    second = catalogue.recipe(db, "mine", "a" * 64).endpoint
    assert first is not None
    assert second is not None
    assert (first.api_key, second.api_key) == ("env:OLD", "env:NEW")


def test_what_nobody_knows_is_told_with_what_is_known(db: Rows) -> None:
    db.add()
    for call in (lambda: catalogue.describe(db, "nobody"), lambda: catalogue.resolve(db, "nobody", by_backend=True)):
        with pytest.raises(errors.UnknownObject, match='model "nobody" does not exist') as caught:
            call()
        assert str(caught.value.hint) == "Models known here: base, mine."


def test_a_fingerprint_that_is_not_there_is_an_error(db: Rows) -> None:
    db.add()
    with pytest.raises(errors.NotReady, match='model "mine" has no revision with fingerprint 000000000000'):
        catalogue.describe(db, "mine", "0" * 64)
    for call in (
        lambda: catalogue.describe(db, "base", "0" * 64),
        lambda: catalogue.resolve(db, "base", "0" * 64, by_backend=True),
    ):
        with pytest.raises(errors.NotReady, match="expected 000000000000"):
            call()


def test_a_name_that_is_a_path_is_refused(db: Rows) -> None:
    with pytest.raises(errors.InvalidParameter, match="invalid model name"):
        catalogue.resolve(db, "../base", by_backend=True)


def test_own_files_are_apart_for_each_database(db: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.NotSupported, match="inside the server only"):
        catalogue.own_store(db)
    monkeypatch.setattr(database, "server_folder", Path("/data"))
    assert catalogue.own_store(db) == Path("/data/pgembed_models/7")
