"""Fixtures of the kill suite: a server that nobody else uses, two models, and scenes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import shifted
from kill import proof
from kill.scene import Open, Scene
from kill.support import SETTINGS, Mortal, adopting

from pgembed import postgres, server


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A place that the server's user can enter."""
    made = Path(tempfile.mkdtemp(prefix="pgembed-kill-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="session")
def models(folder: Path) -> dict[str, proof.Expected]:
    """What the models make: each gives a word the vector that the other gives its neighbour."""
    return {name: proof.Expected(shifted.write(folder / name, shift=shift)) for shift, name in enumerate(("old", "new"))}


@pytest.fixture(scope="session")
def mortal(folder: Path, models: dict[str, proof.Expected]) -> Iterator[Mortal]:
    if not os.environ.get("PGEMBED_URL"):
        pytest.skip("PGEMBED_URL is not set: `make test` installs what this needs and sets it")
    own = server.Server(folder, system=postgres.Postgres.find(server.default_home()))
    with adopting(), _started(own, folder, models) as made:
        yield made


@contextmanager
def _started(own: server.Server, folder: Path, models: dict[str, proof.Expected]) -> Iterator[Mortal]:
    try:
        own.start(throw_away=True, listen="")
        for name, value in SETTINGS.items():
            own.query(f"ALTER SYSTEM SET {name} = '{value}'")
        status, said = postgres.run(own.copy.bindir / "pg_ctl", "restart", "-D", own.data, "-l", own.log, "-w", "-m", "fast")
        assert status == 0, said
        made = Mortal(own)
        made.db.execute("CREATE EXTENSION pgembed CASCADE")
        for name in models:
            made.db.execute("SELECT pgembed.register_model(%s, %s)", [name, str(folder / name)])
        yield made
        made.db.close()
    finally:
        own.remove()


@pytest.fixture
def scene(mortal: Mortal, models: dict[str, proof.Expected], tmp_path: Path) -> Iterator[Open]:
    """Open a scene: `scene(seed, sync="queued")`."""
    opened: list[Scene] = []

    def make(seed: int, *, sync: str = "queued", shape: str = "plain") -> Scene:
        opened.append(Scene(mortal, models, tmp_path, seed, sync=sync, shape=shape))
        return opened[-1]

    yield make
    for one in opened:
        one.clear()
