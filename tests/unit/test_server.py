"""The private server, its copy of PostgreSQL and the installer's command line, as far as they need no server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pgembed import errors, postgres, server

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def system(tmp_path: Path) -> postgres.Postgres:
    """A PostgreSQL 15 of a few files, laid out as Debian does."""
    root = tmp_path / "usr"
    found = postgres.Postgres(15, root / "lib/postgresql/15/bin", root / "share/postgresql/15", root / "lib/postgresql/15/lib")
    for folder in (found.bindir, found.extension, found.pkglibdir):
        folder.mkdir(parents=True)
    (found.bindir / "postgres").write_text("#!/bin/sh\n")
    (found.sharedir / "postgres.bki").write_text("bki")
    (found.extension / "vector.control").write_text("comment = 'x'\ndefault_version = '0.8.0'\nrelocatable = true\n")
    return found


def test_copy_has_real_binaries_and_a_real_extension_folder(system: postgres.Postgres, tmp_path: Path) -> None:
    copy = system.private_copy(tmp_path / "own")
    copy.build()

    assert copy.bindir == tmp_path / "own/lib/postgresql/15/bin"
    assert (copy.bindir / "postgres").is_file()
    assert not (copy.bindir / "postgres").is_symlink()
    assert (copy.sharedir / "postgres.bki").readlink() == system.sharedir / "postgres.bki"
    assert copy.pkglibdir.readlink() == system.pkglibdir
    assert not copy.extension.is_symlink()
    assert (copy.extension / "vector.control").readlink() == system.extension / "vector.control"


def test_copy_follows_the_system_and_keeps_our_files(system: postgres.Postgres, tmp_path: Path) -> None:
    copy = system.private_copy(tmp_path / "own")
    copy.build()
    (copy.extension / "pgembed.control").write_text("ours")
    (system.extension / "pgembed.control").write_text("the system's")
    (system.extension / "vector.control").unlink()
    (system.extension / "citext.control").write_text("new")
    (system.bindir / "postgres").write_text("#!/bin/sh\n# upgraded\n")
    copy.build()

    assert sorted(path.name for path in copy.extension.iterdir()) == ["citext.control", "pgembed.control"]
    assert (copy.extension / "pgembed.control").read_text() == "ours"
    assert "upgraded" in (copy.bindir / "postgres").read_text()


def test_vector_version_is_what_create_extension_would_take(system: postgres.Postgres) -> None:
    assert system.vector_version() == "0.8.0"
    (system.extension / "vector.control").unlink()
    assert system.vector_version() is None


def test_url_of_a_server_that_does_not_run_says_how_to_start_it(system: postgres.Postgres, tmp_path: Path) -> None:
    with pytest.raises(errors.NotReady) as caught:
        server.Server(tmp_path, system=system).url()
    assert caught.value.hint == "Start it: pgembed server start."


def test_url_is_percent_encoded(system: postgres.Postgres, tmp_path: Path) -> None:
    found = server.Server(tmp_path / "a b", system=system)
    found.data.mkdir(parents=True)
    (found.data / "postmaster.pid").write_text("1\n/d\n0\n20001\n/run/a b&c\n127.0.0.1\n0 0\nready\n")
    assert found.url("t%") == "postgresql://postgres@/t%25?host=%2Frun%2Fa%20b%26c&port=20001"


def test_named_servers_have_folders_of_their_own(system: postgres.Postgres, tmp_path: Path) -> None:
    assert server.Server(tmp_path, system=system).folder == tmp_path / "server-15"
    assert server.Server(tmp_path, name="test", system=system).folder == tmp_path / "server-15-test"


@pytest.mark.parametrize("name", ["../x", "a/../..", "..", "/tmp", "a b", "a\n"])
def test_a_name_leads_nowhere(system: postgres.Postgres, tmp_path: Path, name: str) -> None:
    """What it led to would be deleted by remove()."""
    with pytest.raises(errors.InvalidParameter, match="invalid name of a server") as caught:
        server.Server(tmp_path, name=name, system=system)
    assert caught.value.hint == "A name has letters, digits, underscores and hyphens."


def test_no_port_is_postgresqls_own_or_the_kernels() -> None:
    assert 5432 not in server.PORTS
    assert server.PORTS.stop <= 32768


def test_a_port_in_use_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert not postgres.is_free(listening.getsockname()[1])


def test_servers_see_nothing_of_the_callers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    monkeypatch.setenv("PGPORT", "5432")
    assert set(postgres.environment()) == {"PATH", "LC_ALL", "PYTHONPATH", "PYTHONNOUSERSITE"}
    assert postgres.environment()["PATH"] == "/usr/bin:/bin"


def test_home_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGEMBED_HOME", str(tmp_path))
    assert server.default_home() == tmp_path


def test_home_is_the_installation_that_python_belongs_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PGEMBED_HOME", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    (tmp_path / "postgresql-version").write_text("15\n")
    assert server.default_home() == tmp_path


@pytest.mark.parametrize("value", ["/plain", "/it's", "/a b"])
def test_settings_are_read_as_they_were_written(tmp_path: Path, value: str) -> None:
    conf = tmp_path / "pgembed.conf"
    conf.write_text(f"# a comment\nport = '20001'\nunix_socket_directories = {postgres.quoted(value)}\n")
    assert postgres.read_settings(conf) == {"port": "20001", "unix_socket_directories": value}


def test_a_folder_open_to_others_is_not_private(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    postgres.own_folder(folder)
    (tmp_path / "link").symlink_to(folder)
    assert postgres.is_private(folder)
    assert not postgres.is_private(tmp_path / "link")
    assert not postgres.is_private(tmp_path / "missing")
    folder.chmod(0o750)
    assert not postgres.is_private(folder)


def install(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(CHECKOUT / "docker/install"), *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def test_installer_prints_its_folder_and_does_nothing(tmp_path: Path) -> None:
    home = tmp_path / "some folder"
    assert install("--print-home", PGEMBED_HOME=str(home)).stdout == f"{home}\n"
    assert not home.exists()


def test_installer_gives_each_checkout_a_folder_of_its_own() -> None:
    plain, own = install("--print-home").stdout.strip(), install("--print-home", "--checkout").stdout.strip()
    assert plain == ("/var/lib/pgembed" if os.geteuid() == 0 else "/nowhere/.local/share/pgembed")
    assert own.startswith(f"{plain}/checkout-")


def test_installer_refuses_an_unknown_option() -> None:
    result = install("--frobnicate")
    assert result.returncode == 2
    assert "usage: docker/install" in result.stderr


def test_installer_names_the_supported_versions(tmp_path: Path) -> None:
    result = install(PGEMBED_HOME=str(tmp_path), PGEMBED_POSTGRESQL="13")
    assert result.returncode == 1
    assert "PostgreSQL 14 to 18" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(Path("/usr/lib/postgresql/18/bin/postgres").exists(), reason="nothing is missing here")
def test_installer_without_rights_says_so_in_one_sentence_and_names_the_way_out() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        (folder / "docker").mkdir()
        shutil.copy(CHECKOUT / "docker/install", folder / "docker")
        for path in (folder, folder / "docker"):
            os.chown(path, 65534, 65534)
        result = subprocess.run(
            ["bash", str(folder / "docker/install")],
            env={"PATH": "/usr/bin:/bin", "PGEMBED_HOME": str(folder / "home"), "PGEMBED_POSTGRESQL": "18"},
            user=65534,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "sudo" in result.stderr
    assert result.stderr.endswith("The way out is the image: see docker/README.md.\n")
