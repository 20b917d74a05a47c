"""The rooms of the package, its folders and files, import one way: none reaches itself by way of others."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import pgembed

ROOT = Path(pgembed.__file__).parent


def imported(source: str, module: str, *, is_package: bool) -> set[str]:
    """Modules of pgembed that a module's source imports, wherever it does; of a name that is imported its module and its own."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                inside = module.split(".")
                inside = inside[: len(inside) + is_package - node.level]
                base = ".".join([*inside, base] if base else inside)
            found |= {base} | {f"{base}.{name.name}" for name in node.names}
    return {name for name in found if name.startswith("pgembed.")}


def order(graph: dict[str, set[str]]) -> list[str]:
    """The rooms from the ground up."""
    return list(TopologicalSorter(graph).static_order())


def rooms() -> dict[str, set[str]]:
    """Of each room those that it imports."""
    names = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__"}
    graph: dict[str, set[str]] = {name: set() for name in names}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("pgembed", *path.relative_to(ROOT).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        if module == "pgembed":
            continue
        room = parts[1]
        # names of pgembed itself, such as its version, are no rooms
        graph[room] |= {name.split(".")[1] for name in imported(path.read_text(), module, is_package=is_package)} & names - {room}
    return graph


def test_rooms_import_one_way() -> None:
    floors = order(rooms())
    assert floors.index("columns") < floors.index("asking") < floors.index("codes") < floors.index("planner") < floors.index("udf")


def test_a_circle_would_be_found() -> None:
    relative = "from . import b\nfrom ..c import d"
    assert imported(relative, "pgembed.x.a", is_package=False) == {"pgembed.x", "pgembed.x.b", "pgembed.c", "pgembed.c.d"}
    assert imported("def f():\n    from .b import c", "pgembed.x", is_package=True) == {"pgembed.x.b", "pgembed.x.b.c"}
    with pytest.raises(CycleError):
        order({"a": {"b"}, "b": {"c"}, "c": {"a"}})
