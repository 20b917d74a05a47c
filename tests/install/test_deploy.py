"""`pgembed install URL`: into a server of the system's own, made here with Debian's tools and removed afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from pgembed import __version__, deploy, errors, postgres, server

CLUSTER = "pgembedtest"
PACKAGES = Path(sysconfig.get_path("purelib"))


def pgembed(*arguments: str, user: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "pgembed.cli", *arguments]
    uid = pwd.getpwnam(user).pw_uid if user else None
    return subprocess.run(command, cwd="/", user=uid, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def traces(system: postgres.Postgres) -> set[Path]:
    """Every file of ours in the system."""
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    sites = [Path(f"/usr/local/lib/{python}/dist-packages"), Path("/usr/lib/python3/dist-packages")]
    return {*system.extension.glob("pgembed*"), *(site / deploy.PTH for site in sites if (site / deploy.PTH).exists())}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A new cluster of the system's; the system is left as it was found."""
    system = postgres.Postgres.find(server.default_home())
    if os.geteuid() != 0:
        pytest.skip("only root can make a server of the system's own and write into it")
    if shutil.which("pg_createcluster", path="/usr/bin") is None:
        pytest.skip("pg_createcluster is not installed: this is not Debian's PostgreSQL")
    if Path(f"/etc/postgresql/{system.version}/{CLUSTER}").exists():
        pytest.skip(f"a cluster {system.version}/{CLUSTER} exists already")
    if traces(system):
        pytest.skip("pgembed is installed in this system's own PostgreSQL, which is not to be touched")
    port = next(port for port in server.PORTS if postgres.is_free(port))
    tools = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
    cluster = (str(system.version), CLUSTER)
    folder = Path("/etc/postgresql") / cluster[0]
    known = folder.exists()
    subprocess.run(["pg_createcluster", *cluster, "--port", str(port)], env=tools, check=True, capture_output=True)
    try:
        # Over the socket Debian lets the user postgres in as the role postgres; root has to be that user, or to be mapped.
        (folder / CLUSTER / "pg_ident.conf").write_text("here root postgres\nhere postgres postgres\n")
        (folder / CLUSTER / "pg_hba.conf").write_text("local all postgres peer map=here\nlocal all all trust\n")
        subprocess.run(["pg_ctlcluster", *cluster, "start"], env=tools, check=True, capture_output=True)
        yield f"postgresql://postgres@/postgres?host=%2Fvar%2Frun%2Fpostgresql&port={port}"
    finally:
        subprocess.run(["pg_dropcluster", "--stop", *cluster], env=tools, check=True, capture_output=True)
        for path in traces(system):
            path.unlink()
        if not known and folder.exists() and not any(folder.iterdir()):
            folder.rmdir()


@pytest.fixture(scope="module")
def installed(url: str) -> list[str]:
    """What the installation says; skips where this environment may not serve the system."""
    with psycopg.connect(url) as connection:
        target = deploy.examine(connection)
    try:
        deploy._check_packages(PACKAGES, target)
    except errors.InsufficientPrivilege as error:
        pytest.skip(error.message)
    return list(deploy.deploy(url))


def test_installation_says_each_step_and_embeds(installed: list[str]) -> None:
    assert installed[0].startswith("wrote ")
    assert f"created extension pgembed {__version__}" in installed
    assert installed[-1].startswith("pgembed.embed gives a vector of ")


def test_probing_leaves_nothing_behind(url: str) -> None:
    with psycopg.connect(url.replace("/postgres?", "/template1?")) as connection:
        deploy.examine(connection)
        assert connection.execute("SELECT count(*) FROM pg_language WHERE lanname = 'plpython3u'").fetchone() == (0,)


def test_installing_again_changes_nothing(url: str, installed: list[str]) -> None:
    result = pgembed("install", url)
    assert result.returncode == 0, result.stderr
    assert "created" not in result.stdout
    assert ".pth" not in result.stdout


def test_another_database_of_the_server_gets_the_extension(url: str, installed: list[str]) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE second")
    second = url.replace("/postgres?", "/second?")
    assert f"created extension pgembed {__version__}" in pgembed("install", second).stdout


def test_other_programs_of_the_system_see_nothing(installed: list[str]) -> None:
    python = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
    result = subprocess.run([python, "-c", "import sys; print(sys.path)"], env={}, capture_output=True, text=True)
    assert str(PACKAGES) not in result.stdout
    assert result.stderr == ""


def test_a_role_that_is_no_superuser_is_refused(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE plain LOGIN")
    result = pgembed("install", url.replace("//postgres@", "//plain@"))
    assert result.returncode == 1
    assert 'role "plain" is not a superuser' in result.stderr


def test_a_user_who_is_not_root_is_told_the_command(url: str, installed: list[str]) -> None:
    result = pgembed("install", url, user="postgres")
    assert result.returncode == 1
    assert "only root may write into" in result.stderr
    assert "hint: sudo " in result.stderr


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    result = pgembed("install", "postgresql://postgres@/postgres?host=%2Fnonexistent")
    assert result.returncode == 1
    assert result.stderr.startswith("pgembed: no connection to the database\n")
    assert "Traceback" not in result.stderr


def offering(**versions: str) -> psycopg.Connection[Any]:
    rows = SimpleNamespace(fetchall=lambda: list(versions.items()))
    return cast("psycopg.Connection[Any]", SimpleNamespace(execute=lambda _: rows))


@pytest.mark.parametrize(
    ("versions", "message", "package"),
    [
        ({"vector": "0.8.0"}, "PL/Python is not installed", "postgresql-plpython3-16"),
        ({"plpython3u": "1.0"}, "pgvector is not installed, and 0.8 or newer is needed", "postgresql-16-pgvector"),
        ({"plpython3u": "1.0", "vector": "0.6.2"}, "pgvector is 0.6.2, and 0.8 or newer is needed", "docker/install"),
    ],
)
def test_what_the_server_lacks_is_named(versions: dict[str, str], message: str, package: str) -> None:
    with pytest.raises(errors.NotReady, match=message) as caught:
        deploy._check_extensions(offering(**versions), 16)
    assert package in str(caught.value.hint)


def test_a_server_on_another_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.NotSupported) as caught:
        deploy._check_place(os.getpid(), tmp_path)  # that process is there, but it is no server
    assert caught.value.sqlstate == "0A000"


def test_another_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.NotSupported, match=r"embeds Python 3\.99"):
        deploy._check_packages(PACKAGES, deploy.Target(tmp_path, (3, 99), tmp_path))


def test_packages_that_others_may_write_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(errors.InsufficientPrivilege) as caught:
        deploy._check_packages(folder, deploy.Target(tmp_path, sys.version_info[:2], tmp_path))
    assert "docker/install" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("program", "added"),
    [
        ("/usr/lib/postgresql/15/bin/postgres", True),
        ("/usr/lib/postgresql/15/bin/postgres (deleted)", True),
        ("/usr/bin/python3.11", False),
        ("/opt/postgres/bin/python3", False),
    ],
)
def test_the_pth_line_acts_in_postgres_only(monkeypatch: pytest.MonkeyPatch, program: str, added: bool) -> None:
    monkeypatch.setattr(os.path, "realpath", lambda _: program)
    monkeypatch.setattr(sys, "path", ["/stdlib"])
    exec(deploy.pth_line(Path("/it's here")))
    assert sys.path == (["/stdlib", "/it's here"] if added else ["/stdlib"])
