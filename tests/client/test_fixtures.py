"""pgembed.testing: the fixtures for users' own projects, in projects of theirs, each a run of pytest of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support import Connect, Connection, MakeRole

from pgembed import models
from pgembed.models import adding
from pgembed.testing import MODEL, write_model
from pgembed.testing.databases import FORGET_FILES, Place

ROOT = Path(__file__).resolve().parents[2]
NOWHERE = "postgresql://nobody@/nothing?host=/nowhere"
README = ROOT / "pgembed" / "testing" / "README.md"
# Changes with every change of a vector: tests of users' projects would change with it.
FINGERPRINT = "e430934f083b8c435faaa43f5cdb3798c9776161100704052b5e314955bf8954"


def run(folder: Path, *arguments: str, url: str | None, **changes: str) -> subprocess.CompletedProcess[str]:
    """A project's tests, as its developer runs them."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTEST")) or name == "PGEMBED_HOME"}
    environment = {**clean, **({"PGEMBED_URL": url} if url else {}), **changes}
    command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def databases(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'pgembed_pytest_%'").fetchall()}


def stores(url: str) -> set[str]:
    """Databases that have files of models of their own, by number."""
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT pg_ls_dir('pgembed_models', true, false)").fetchall()}


OWN = """
import psycopg, pytest

@pytest.mark.parametrize("number", range(3))
def test_every_test_has_a_database_of_its_own(number, pgembed_postgresql, pgembed_url, pgembed_sqlalchemy_url):
    pgembed_postgresql.execute("CREATE TABLE t AS SELECT pgembed.embed('rain coat') AS e")
    pgembed_postgresql.commit()
    left_open = psycopg.connect(pgembed_url)
    assert left_open.execute("SELECT vector_dims(e) FROM t").fetchone() == (64,)
    assert pgembed_sqlalchemy_url == pgembed_url.replace("postgresql:", "postgresql+psycopg:")
"""


def test_the_readmes_project_runs(server_url: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```\w+ (\S+)\n(.*?)^```$", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert [name for name, _ in blocks] == ["test_shop.py", "pytest.ini", "schema.sql", "seeds.py", "test_desks.py"]
    for name, text in blocks:
        (tmp_path / name).write_text(text)
    (tmp_path / "test_own.py").write_text(OWN)
    before, files = databases(server_url), stores(server_url)
    ran = run(tmp_path, f"--pgembed-url={server_url}", url=NOWHERE)
    assert "6 passed" in ran.stdout, ran.stdout + ran.stderr
    assert databases(server_url) <= before, "nothing is left of it"
    assert stores(server_url) <= files


def test_what_is_missing_is_said(server_url: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(pgembed_postgresql): pass\n")
    ran = run(tmp_path, url=NOWHERE)
    assert ran.returncode == 1
    assert "the server for tests can't be reached" in ran.stdout
    assert "HINT: PGEMBED_URL and --pgembed-url name it: a URL" in ran.stdout
    ran = run(tmp_path, "--pgembed-url=shop", url=None)
    assert 'the server for tests can\'t be reached: missing "=" after "shop"' in ran.stdout
    assert "conninfo.py" not in ran.stdout
    (tmp_path / "pytest.ini").write_text("[pytest]\npgembed_load = missing.sql\n")
    before = databases(server_url)
    ran = run(tmp_path, url=server_url)
    assert "missing.sql" in ran.stdout
    assert databases(server_url) <= before, "a template that can't be filled is dropped"
    # no PostgreSQL on this machine, as far as pgembed looks
    nothing_here = "from pathlib import Path\nfrom pgembed import postgres\npostgres.PACKAGED = Path('/nowhere')\n"
    (tmp_path / "sitecustomize.py").write_text(nothing_here)
    (tmp_path / "pytest.ini").unlink()
    ran = run(tmp_path, url=None, PYTHONPATH=str(tmp_path))
    assert "no private server for tests: no PostgreSQL 1" in ran.stdout, ran.stdout
    assert "HINT: Run docker/install. Or name a server that has pgembed: PGEMBED_URL" in ran.stdout


def test_what_else_the_url_says_holds(server_url: str) -> None:
    """A blank in it too, which libpq takes as %20 only."""
    place = Place.of(make_conninfo(server_url, options="-c work_mem=9MB", application_name="a + b"))
    with psycopg.connect(place.url(place.database)) as connection:
        asked = connection.execute("SELECT current_setting('work_mem'), current_setting('application_name')")
        assert asked.fetchone() == ("9MB", "a + b")


def test_unused_it_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        """
import sys

def test_it():
    loaded = {name for name in sys.modules if name.split(".")[0] in ("pgembed", "numpy", "psycopg", "pgvector", "sqlalchemy")}
    assert loaded == {"pgembed", "pgembed.errors", "pgembed.testing", "pgembed.testing.model", "pgembed.testing.plugin"}
"""
    )
    ran = run(tmp_path, "-p", "no:postgresql", url=None)
    assert "1 passed" in ran.stdout, ran.stdout
    said = run(tmp_path, "--fixtures", "-p", "no:postgresql", url=None).stdout
    for name in ("pgembed_postgresql", "pgembed_url", "pgembed_sqlalchemy_url", "pgembed_model", "pgembed_postgresql_proc [session scope]"):
        assert f"\n{name} " in said


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> models.Model:
    """The tiny model, opened from its files."""
    target = tmp_path_factory.mktemp("models")
    info = adding.add_folder(write_model(target / "folder"), target, MODEL, source_label="a test")
    from pgembed.models.static import Static

    return Static(info, target / MODEL / "current")


def distances(tiny: Any, *texts: str) -> list[float]:
    """Cosine distances from the first to each of the others."""
    vectors = tiny.encode(texts).vectors
    return [round(1 - float(vectors[0] @ other), 2) for other in vectors[1:]]


def test_the_model_is_the_same_everywhere(tiny: models.Model) -> None:
    assert tiny.info.fingerprint == FINGERPRINT
    assert (tiny.info.dim, tiny.info.max_tokens, tiny.info.normalized, tiny.info.kind) == (64, None, True, "static")


def test_texts_that_share_words_are_near(tiny: models.Model) -> None:
    """What pgembed/testing/README.md says."""
    near = distances(tiny, "rain coat", "a coat for the rain", "rain coats", "coat", "raincoat", "desk")
    assert near == pytest.approx([0.01, 0.16, 0.25, 0.58, 1.04], abs=1e-9)
    assert distances(tiny, "RAIN, coat", "rain coat") == [pytest.approx(0, abs=0.01)]
    assert distances(tiny, "the trousers", "trousers", "jeans") == pytest.approx([0, 0.81], abs=1e-9)


def test_every_word_has_pieces(tiny: models.Model) -> None:
    """Different words have different vectors, in any script that has letters; none is zero."""
    words = ["x", "zebra", "zebroid", "42", "43", "1,042", "Straße", "улица", "улицы", "שלום", "ひらがな", "ひらめき", "café", "-"]
    vectors = tiny.encode(words).vectors
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    near = vectors @ vectors.T - np.eye(len(words))
    assert near.max() < 0.999
    assert distances(tiny, "café", "CAFE") == [0]


def test_a_copy_of_a_database_finds_the_files_of_its_models(db: Connection, server_url: str, open_folder: Path, connect: Connect) -> None:
    """What the fixtures rest on: a template's model works in its copies, and their own drop takes nothing from it."""
    db.execute("SELECT pgembed.register_model('copied', %s)", [str(write_model(open_folder))])
    name, copy = db.info.dbname, f"{db.info.dbname}_copy"
    expected = db.execute("SELECT pgembed.embed('rain', 'copied')::text").fetchone()
    db.close()
    with psycopg.connect(server_url, autocommit=True) as session:
        session.execute(f"CREATE DATABASE {copy} TEMPLATE {name}")
        try:
            with psycopg.connect(server_url, dbname=copy, autocommit=True) as copied:
                assert copied.execute("SELECT pgembed.embed('rain', 'copied')::text").fetchone() == expected
                copied.execute("CREATE TABLE t (id int PRIMARY KEY, a text)")
                copied.execute("SELECT pgembed.add_embedding('t', 'a', model => 'copied')")
                copied.execute("SELECT pgembed.drop_embedding('t', 'embedding')")
                copied.execute("SELECT pgembed.drop_model('copied')")
            with psycopg.connect(server_url, dbname=name, autocommit=True) as again:
                assert again.execute("SELECT pgembed.embed('rain', 'copied')::text").fetchone() == expected
                again.execute(FORGET_FILES)
        finally:
            session.execute(f"DROP DATABASE {copy} WITH (FORCE)")


def test_a_role_that_is_no_superuser(
    db: Connection, server_url: str, open_folder: Path, tmp_path: Path, make_role: MakeRole, connect: Connect
) -> None:
    """It has a template that an administrator has made."""
    role, name = make_role("tester", "LOGIN CREATEDB PASSWORD 'of the test'"), db.info.dbname
    db.execute("SELECT pgembed.register_model(%s, %s)", [MODEL, str(write_model(open_folder))])
    (tmp_path / "test_own.py").write_text(OWN)
    options = (f"--pgembed-url={make_conninfo(server_url, user=role, password='of the test')}", f"--pgembed-template={name}")
    with psycopg.connect(server_url, autocommit=True) as session:
        session.execute(f"ALTER DATABASE {name} IS_TEMPLATE true")
        db.close()
        try:
            refused = run(tmp_path, *options, url=None)
            assert "the model for tests is not the default one" in refused.stdout, refused.stdout
            with psycopg.connect(server_url, dbname=name, autocommit=True) as administrator:
                administrator.execute("SELECT pgembed.set_default_model(%s)", [MODEL])
            ran = run(tmp_path, *options, url=None)
            assert "3 passed" in ran.stdout, ran.stdout + ran.stderr
            with psycopg.connect(server_url, dbname=name, autocommit=True) as administrator:
                administrator.execute(FORGET_FILES)
        finally:
            session.execute(f"ALTER DATABASE {name} IS_TEMPLATE false")
    without = run(tmp_path, options[0], url=None)
    assert "the server for tests lacks pgembed" in without.stdout
