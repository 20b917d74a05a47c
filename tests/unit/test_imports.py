"""What importing pgembed and its rooms brings along: little, nothing that another extra installs, and without a warning."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import pgembed

# Room -> the extra with which it can be imported, and other people's packages that it is made for; None: without any.
ROOMS: dict[str, tuple[str | None, set[str]]] = {
    "pgembed": (None, set()),
    "pgembed.errors": (None, set()),
    "pgembed.codecs": (None, set()),
    "pgembed.models": (None, set()),
    "pgembed.cli": (None, set()),
    "pgembed.testing": (None, set()),
    "pgembed.testing.plugin": ("pytest", {"pytest"}),
    "pgembed.psycopg": ("psycopg", {"psycopg"}),
    "pgembed.sqlalchemy": ("sqlalchemy", {"sqlalchemy", "pgvector"}),
    "pgembed.alembic": ("alembic", {"alembic", "sqlalchemy", "pgvector"}),
    "pgembed.report": ("report", {"psycopg"}),
}
# What takes long to import, or is there for one room only.
NOTICED = {"numpy", "scipy", "sklearn", "plotly", "onnxruntime", "tokenizers", "safetensors"}
NOTICED |= {"sqlalchemy", "alembic", "psycopg", "psycopg_pool", "asyncpg", "pgvector", "pytest", "pytest_postgresql"}
# Mako, which Alembic needs, imports it where it is there.
TAKEN_IF_THERE = {"pygments"}
BROUGHT = """
import json, sys
before = set(sys.modules)
__import__(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def brought(module: str) -> set[str]:
    """Modules that importing one brings along, in a new interpreter to which a warning is an error."""
    ran = subprocess.run([sys.executable, "-P", "-W", "error", "-c", BROUGHT, module], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return set(json.loads(ran.stdout))


def named(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def installed_by(extra: str) -> set[str]:
    """Distributions that an extra of pyproject.toml installs, and what these need."""
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found: set[str] = set()
    waiting = [Requirement(line) for line in extras[extra]]
    while waiting:
        one = waiting.pop()
        if one.name == "pgembed-extension":
            waiting += [Requirement(line) for own in one.extras for line in extras[own]]
        elif named(one.name) not in found:
            found.add(named(one.name))
            further = [Requirement(line) for line in metadata.requires(one.name) or ()]
            waiting += [
                need for need in further if need.marker is None or any(need.marker.evaluate({"extra": own}) for own in ("", *one.extras))
            ]
    return found


def test_pgembed_alone_imports_nothing_of_itself() -> None:
    assert {name for name in brought("pgembed") if name.startswith("pgembed")} == {"pgembed"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_it_is_made_for(room: str) -> None:
    extra, made_for = ROOMS[room]
    modules = {name.split(".")[0] for name in brought(room)}
    assert modules & NOTICED == made_for
    distributions = metadata.packages_distributions()
    others = {
        named(each) for name in modules - sys.stdlib_module_names - TAKEN_IF_THERE - {"pgembed"} for each in distributions.get(name, ())
    }
    assert others <= (set() if extra is None else installed_by(extra))


@pytest.mark.parametrize(("room", "extra"), [(room, extra) for room, (extra, _) in ROOMS.items() if extra] + [("pgembed.cli", "cli")])
def test_a_room_is_served_by_its_extra(room: str, extra: str) -> None:
    """Also what is imported within functions, once they are called; numpy where somebody has arrays."""
    distributions = metadata.packages_distributions()
    place = Path(pgembed.__file__).parent.joinpath(*room.split(".")[1:])
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    assert files
    modules = {name for path in files for name in imported(path.read_text())} - sys.stdlib_module_names - {"pgembed", "numpy"}
    assert {named(each) for name in modules for each in distributions.get(name, [name])} <= installed_by(extra)


def imported(source: str) -> set[str]:
    """Top-level names of what a file imports, wherever it does."""
    nodes = list(ast.walk(ast.parse(source)))
    found = {name.name.split(".")[0] for node in nodes if isinstance(node, ast.Import) for name in node.names}
    return found | {str(node.module).split(".")[0] for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}


def test_what_is_noticed_is_found() -> None:
    assert "numpy" in brought("pgembed.codecs.bits")
    assert {"alembic", "mako", "sqlalchemy"} <= installed_by("alembic")
    assert "alembic" not in installed_by("sqlalchemy")
