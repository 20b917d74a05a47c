"""register_model() of a folder on the server's machine: converted into the database's own models."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_models
from support import Connect, Connection, Refused

from pgembed.models import adding


@pytest.fixture
def folder() -> Iterator[Path]:
    """A small BERT in a folder that the server's user may read."""
    place = Path(tempfile.mkdtemp(prefix="pgembed-test-"))
    small_models.write_folder(place)
    for path in (place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    yield place
    shutil.rmtree(place)


def register(db: Connection, name: str, source: object, more: str = "") -> str:
    row = db.execute(f"SELECT pgembed.register_model(%s, %s{', ' + more if more else ''})", [name, str(source)]).fetchone()
    assert row is not None
    return str(row[0])


def stored(db: Connection) -> set[str]:
    """Names of the models whose files the database has of its own, as far as a test's user may look there."""
    return {
        row[0]
        for row in db.execute(
            "SELECT pg_ls_dir('pgembed_models/' || oid, true, false) FROM pg_database WHERE datname = current_database()"
        ).fetchall()
        if not row[0].startswith(".")
    }


@pytest.fixture(autouse=True)
def nothing_left(db: Connection) -> Iterator[None]:
    """Take the files away that would outlive the test's database."""
    yield
    db.execute("DELETE FROM pgembed._embedding; DELETE FROM pgembed._model")
    db.execute("SELECT pgembed.register_model('last', 'all-minilm-l6-v2', dim => 1)")
    assert stored(db) == set()


def test_a_folder_becomes_a_model_of_this_database(db: Connection, folder: Path, tmp_path: Path, connect: Connect) -> None:
    made = register(db, "tiny", folder)
    row = db.execute("SELECT kind, dim, weights, layers, source, fingerprint FROM pgembed.models WHERE name = 'tiny'").fetchone()
    assert row == ("transformer", small_models.DIM, "fp32", small_models.LAYERS, "tiny", made)
    assert stored(db) == {"tiny"}
    # the same model as outside, in every session, also once the folder is gone
    info = adding.add_folder(folder, tmp_path, "outside", source_label="a test")
    assert info.fingerprint == made
    before = db.execute("SELECT pgembed.embed('a b', 'tiny')::text").fetchone()
    os.rename(folder / "config.json", folder / "gone.json")
    assert connect(db).execute("SELECT pgembed.embed('a b', 'tiny')::text").fetchone() == before


def test_options_and_other_names_are_made_of_the_same_files(db: Connection, folder: Path, refused: Refused) -> None:
    register(db, "tiny", folder, "dim => 8, layers => 2, query_prompt => 'a '")
    register(db, "other", "tiny", "document_prompt => 'c '")
    same = db.execute("SELECT pgembed.embed('b', 'tiny') = pgembed.embed('b', 'other'), vector_dims(pgembed.embed('b', 'tiny'))").fetchone()
    assert same == (True, 8)
    error = refused(db, "2BP01", "SELECT pgembed.drop_model('tiny')", message="1 other thing needs it")
    assert error.diag.message_detail == "model other, which is made of it"
    db.execute("SELECT pgembed.drop_model('other'), pgembed.drop_model('tiny')")


def test_a_changed_folder_is_a_new_revision_and_columns_keep_theirs(db: Connection, folder: Path, connect: Connect) -> None:
    first = register(db, "tiny", folder)
    db.execute("CREATE TABLE t (id int PRIMARY KEY, body text); INSERT INTO t VALUES (1, 'a b'), (2, 'c d')")
    db.execute("SELECT pgembed.add_embedding('t', 'body', 'tiny')")
    db.execute("CALL pgembed.refresh('t')")
    weights = small_models.weights_of("bert")
    weights["embeddings.word_embeddings.weight"] *= 2
    small_models.save_weights(folder, weights)
    (folder / "model.safetensors").chmod(0o644)
    second = register(db, "tiny", folder)
    assert first != second
    assert register(db, "tiny", folder) == second
    for session in (db, connect(db)):
        found = session.execute("SELECT (item).id, distance FROM pgembed.search(NULL::t, 'c d', k => 1)").fetchone()
        assert found is not None
        assert found[0] == 2
        assert found[1] == pytest.approx(0, abs=1e-6)
    assert db.execute("SELECT revision, columns FROM pgembed.models WHERE name = 'tiny' ORDER BY 1").fetchall() == [(1, 1), (2, 0)]


def test_a_dropped_models_files_go_with_the_next_call(db: Connection, folder: Path) -> None:
    register(db, "tiny", folder)
    # not before the transaction has ended: a rollback must find the files
    db.execute("BEGIN; SELECT pgembed.drop_model('tiny'); ROLLBACK")
    assert db.execute("SELECT vector_dims(pgembed.embed('a', 'tiny'))").fetchone() == (small_models.DIM,)
    db.execute("SELECT pgembed.drop_model('tiny')")
    assert stored(db) == {"tiny"}
    register(db, "other", "all-minilm-l6-v2", "dim => 8")
    assert stored(db) == set()


def test_a_registration_that_was_rolled_back_leaves_nothing(db: Connection, folder: Path, refused: Refused, connect: Connect) -> None:
    db.execute("BEGIN")
    register(db, "tiny", folder)
    db.execute("ROLLBACK")
    refused(db, "42704", "SELECT pgembed.embed('a', 'tiny')", message="does not exist")
    # what was once loaded is no way in either
    refused(connect(db), "42704", "SELECT pgembed.embed('a', 'tiny')", message="does not exist")


def test_a_database_has_no_models_of_another(db: Connection, empty_db: Connection, folder: Path, refused: Refused) -> None:
    register(db, "tiny", folder)
    empty_db.execute("CREATE EXTENSION pgembed CASCADE")
    refused(empty_db, "42704", "SELECT pgembed.embed('a', 'tiny')", message='model "tiny" does not exist', hint="all-minilm-l6-v2")


@pytest.mark.parametrize(
    ("spoil", "sqlstate", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "1_Pooling"), "58P01", "does not exist"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "58P01", "tokenizer.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "F0000", "is not JSON"),
    ],
    ids=["no pooling", "no tokenizer", "broken config"],
)
def test_a_damaged_folder_is_refused_and_nothing_is_kept(
    db: Connection, folder: Path, refused: Refused, spoil: object, sqlstate: str, message: str
) -> None:
    assert callable(spoil)
    spoil(folder)
    refused(db, sqlstate, f"SELECT pgembed.register_model('tiny', '{folder}')", message=message)
    assert db.execute("SELECT count(*) FROM pgembed._model").fetchone() == (0,)


def test_a_folder_that_is_not_there_or_not_readable_is_refused(db: Connection, folder: Path, refused: Refused) -> None:
    refused(db, "58P01", "SELECT pgembed.register_model('tiny', '/nowhere')", message='folder "/nowhere" does not exist')
    refused(db, "22023", "SELECT pgembed.register_model('tiny', 'a/folder')", message="no folder named from the root", hint="model add")
    if os.geteuid() == 0:  # and the server runs as somebody else
        (folder / "model.safetensors").chmod(0o600)
        refused(db, "42501", f"SELECT pgembed.register_model('tiny', '{folder}')", message="may not be read", hint="chmod")
