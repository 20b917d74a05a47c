"""The private server, for real: each test module makes one in a temporary home and removes it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from pgembed import __version__, doctor, errors, install, postgres, server


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home that the servers' user can enter, unlike pytest's own temporary folders when root runs them."""
    folder = Path(tempfile.mkdtemp(prefix="pgembed-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def system() -> postgres.Postgres:
    return postgres.Postgres.find(server.default_home())


@pytest.fixture(scope="module")
def private(home: Path, system: postgres.Postgres) -> Iterator[server.Server]:
    found = server.Server(home, system=system)
    found.start(throw_away=True)
    yield found
    found.remove()


def value(found: server.Server, statement: str) -> object:
    with psycopg.connect(found.url()) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def test_server_runs_as_a_user_without_rights(private: server.Server) -> None:
    pid = int((private.data / "postmaster.pid").read_text().split()[0])
    assert os.stat(f"/proc/{pid}").st_uid == postgres.account().pw_uid != 0


def test_server_looks_for_extensions_in_our_folder_only(private: server.Server, system: postgres.Postgres) -> None:
    before = {path.name for path in system.extension.iterdir()}
    private.install_extension()
    assert value(private, "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'") == str(private.copy.sharedir)
    assert value(private, "SELECT extversion FROM pg_extension WHERE extname = 'pgembed'") == __version__
    assert {path.name for path in system.extension.iterdir()} == before


def test_installing_twice_changes_nothing(private: server.Server) -> None:
    assert private.install_extension()
    assert private.install_extension()
    assert value(private, "SELECT pgembed.version()") == __version__


def test_changed_definitions_of_the_same_version_are_made_anew(private: server.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    private.install_extension()
    with psycopg.connect(private.url(), autocommit=True) as connection:
        connection.execute("CREATE SCHEMA demo CREATE TABLE item (name text PRIMARY KEY)")
        connection.execute("SELECT pgembed.add_embedding('demo.item', 'name')")
        connection.execute("ALTER EXTENSION pgembed DROP FUNCTION pgembed.version()")
        connection.execute("DROP FUNCTION pgembed.version()")  # as if the older definitions had none, and none of these tables
        connection.execute("ALTER TABLE pgembed._linker_target RENAME TO _linker_target_before")
        connection.execute("ALTER TABLE pgembed._model RENAME TO _model_before")
    script = install.extension_script()
    monkeypatch.setattr(install, "extension_script", lambda: script + "-- changed\n")
    assert private.install_extension()
    assert private.install_extension()
    assert value(private, "SELECT pgembed.version()") == __version__
    assert value(private, "SELECT to_regnamespace('demo')") is None


def test_changed_definitions_that_somebody_uses_stay(private: server.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    private.install_extension()
    with psycopg.connect(private.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE mine (name text PRIMARY KEY)")
        connection.execute("SELECT pgembed.add_embedding('mine', 'name')")
        script = install.extension_script()
        monkeypatch.setattr(install, "extension_script", lambda: script + "-- changed\n")
        assert not private.install_extension()
        assert value(private, "SELECT count(*) FROM pgembed.embeddings") == 1
        enabled = "SELECT bool_and(evtenabled <> 'D') FROM pg_event_trigger WHERE evtname LIKE '%pgembed%'"
        assert value(private, enabled)  # what was tried is undone
        connection.execute("DROP TABLE mine")
    assert private.install_extension()


def test_embedded_python_finds_our_packages_first(private: server.Server) -> None:
    with psycopg.connect(private.url()) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS plpython3u CASCADE")
        connection.execute("CREATE FUNCTION pg_temp.place() RETURNS text LANGUAGE plpython3u AS 'import pgembed; return pgembed.__file__'")
        row = connection.execute("SELECT pg_temp.place()").fetchone()
        connection.rollback()
    assert row is not None
    assert row[0].startswith(postgres.environment()["PYTHONPATH"])


def test_text_is_utf8_and_sorted_by_code_point(private: server.Server) -> None:
    assert value(private, "SHOW server_encoding") == "UTF8"
    assert value(private, "SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == "C.UTF-8"


def test_server_listens_on_loopback_and_not_on_5432(private: server.Server) -> None:
    assert value(private, "SHOW listen_addresses") == "127.0.0.1"
    assert value(private, "SHOW port") != "5432"


def test_over_tcp_nobody_gets_in_without_a_password(private: server.Server) -> None:
    port = value(private, "SHOW port")
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres", connect_timeout=5)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_users_of_the_machine_do_not_get_in(private: server.Server, system: postgres.Postgres) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    folder = private.copy.bindir
    run = private.folder / "run"
    run.chmod(0o755)  # the socket's folder is closed to them; the authentication behind it has to hold too
    try:
        result = subprocess.run([folder / "psql", "-Xc", "SELECT 1", private.url()], user=nobody, cwd="/", capture_output=True, text=True)
    finally:
        run.chmod(0o700)
    assert result.returncode == 2
    assert "authentication failed" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_whose_server_it_is(private: server.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(errors.InsufficientPrivilege, match="belongs to another user"):
        private.running()


def test_a_role_with_a_password_may_come_in(private: server.Server) -> None:
    with psycopg.connect(private.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'secret'")
    port = value(private, "SHOW port")
    with psycopg.connect(f"postgresql://reader:secret@127.0.0.1:{port}/postgres") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("reader",)


def test_a_running_server_is_left_alone(private: server.Server) -> None:
    before = value(private, "SELECT pg_postmaster_start_time()")
    private.start()
    assert value(private, "SELECT pg_postmaster_start_time()") == before


def test_data_outlives_a_restart_and_a_taken_port_is_replaced(home: Path, system: postgres.Postgres) -> None:
    found = server.Server(home, name="restart", system=system)
    found.start()
    with psycopg.connect(found.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
    port = int(str(value(found, "SHOW port")))
    assert value(found, "SHOW fsync") == "on"
    assert found.stop()
    assert not found.running()
    assert not found.stop()
    with socket.create_server(("127.0.0.1", port)):
        found.start()
        assert int(str(value(found, "SHOW port"))) != port
    assert value(found, "SELECT n FROM kept") == 42
    found.remove()
    assert not found.folder.exists()


def test_a_throw_away_server_begins_empty(home: Path, system: postgres.Postgres) -> None:
    found = server.Server(home, name="fresh", system=system)
    found.start(throw_away=True)
    with psycopg.connect(found.url()) as connection:
        connection.execute("CREATE TABLE gone ()")
    assert value(found, "SHOW fsync") == "off"
    found.start(throw_away=True)
    assert value(found, "SELECT to_regclass('gone')") is None
    found.remove()


def test_a_long_path_gets_a_short_private_socket_folder(home: Path, system: postgres.Postgres) -> None:
    found = server.Server(home / ("long " * 20), system=system)
    found.start(throw_away=True)
    folder = Path(str(value(found, "SHOW unix_socket_directories")))
    assert postgres.is_private(folder)
    assert len(os.fsencode(folder)) <= server.SOCKET_FOLDER_BYTES
    found.stop()
    folder.rmdir()  # as a cleaner of /tmp may do
    found.start()
    assert value(found, "SELECT 1") == 1
    found.remove()
    assert not Path(str(folder)).exists()


def test_a_cluster_cut_short_while_made_is_made_again(home: Path, system: postgres.Postgres) -> None:
    found = server.Server(home, name="short", system=system)
    (found.folder / "data.new" / "base").mkdir(parents=True)
    found.start()
    assert found.running()
    found.remove()


def test_a_server_that_cannot_start_says_why(home: Path, system: postgres.Postgres) -> None:
    found = server.Server(home, name="broken", system=system)
    found.start()
    found.stop()
    with (found.data / "postgresql.conf").open("a") as conf:
        conf.write("shared_buffers = 'nonsense'\n")
    with pytest.raises(errors.NotReady) as caught:
        found.start()
    assert "shared_buffers" in str(caught.value.detail)
    assert str(found.log) in str(caught.value.hint)
    found.remove()


def test_psql_gets_the_arguments_that_are_not_ours(private: server.Server) -> None:
    result = subprocess.run(
        [sys.executable, "-P", "-m", "pgembed.cli", "server", "psql", "-XAtc", "SELECT 42"],
        env={**os.environ, "PGEMBED_HOME": str(private.home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert result.stdout == "42\n"


def test_doctor_finds_nothing_wrong_with_a_sound_installation(private: server.Server) -> None:
    private.install_extension()
    checks = list(doctor.examine(private.url()))
    assert [check for check in checks if check.remedy] == []
    assert checks[-1] == doctor.Check("pgembed.embed", "a vector of 384 dimensions")


def test_doctor_warns_where_a_filter_would_lose_rows(private: server.Server) -> None:
    private.install_extension()
    said = "hnsw.iterative_scan"
    with psycopg.connect(private.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE near (e public.vector(3)); CREATE INDEX ON near USING hnsw (e public.vector_cosine_ops)")
        connection.execute("CREATE INDEX ON near USING hnsw (e public.vector_l2_ops)")
        (check,) = [check for check in doctor.examine(private.url()) if check.subject == said]
        assert "off, with 2 hnsw indexes" in check.found
        assert "pgembed.set_search_defaults()" in str(check.remedy)
        connection.execute("SELECT pgembed.set_search_defaults()")
        assert said not in [check.subject for check in doctor.examine(private.url())]
        connection.execute("SELECT pgembed.reset_search_defaults(); DROP TABLE near")


def test_doctor_names_a_database_without_the_extension(private: server.Server) -> None:
    *_, last = doctor.examine(private.url("template1"))
    assert last == doctor.Check("extension", "not in this database", "pgembed install URL.")


def test_the_fixtures_for_projects_start_a_server_and_remove_it(home: Path, system: postgres.Postgres) -> None:
    """A server of a run of its own: tests/client/test_fixtures.py has the fixtures on a server that is there."""
    project = home / "project"
    project.mkdir()
    (project / "test_it.py").write_text(
        "def test_it(pgembed_postgresql, pgembed_model):\n"
        "    row = pgembed_postgresql.execute('SELECT vector_dims(pgembed.embed(%s, %s)), version()', ['rain', pgembed_model]).fetchone()\n"
        f"    assert row[0] == 64 and ' {system.version}.' in row[1]\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTEST"))}
    command = [sys.executable, "-P", "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    (home / "postgresql-version").write_text(f"{system.version}\n")
    ran = subprocess.run(command, cwd=project, env={**clean, "PGEMBED_HOME": str(home)}, capture_output=True, text=True, check=False)
    (home / "postgresql-version").unlink()
    assert "1 passed" in ran.stdout, ran.stdout + ran.stderr
    assert list(home.glob("server-*-pytest-*")) == []
