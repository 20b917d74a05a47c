"""The user's files in tests/typed use the whole public API, so `make types` checks all of it."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

TYPED = Path(__file__).parents[1] / "typed"
ROOMS = ["alembic", "cli", "psycopg", "report", "sqlalchemy", "sqlalchemy.views", "testing"]


def used(source: str) -> set[str]:
    """Names, with their module, that a file imports and then uses; of an imported module or object its attributes too."""
    tree = ast.parse(source)
    imported = {
        name.asname or name.name: f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found = {where for name, where in imported.items() if name in read}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    return found | {f"{imported[node.value.id]}.{node.attr}" for node in attributes if node.value.id in imported}  # type: ignore[attr-defined]


def in_right_files() -> set[str]:
    return {name for path in TYPED.glob("*.py") if path.name != "wrong.py" for name in used(path.read_text())}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_used(room: str) -> None:
    names = {f"pgembed.{room}.{name}" for name in import_module(f"pgembed.{room}").__all__}
    assert names - in_right_files() == set()


def test_every_operation_is_used() -> None:
    from alembic.operations import Operations

    import pgembed.alembic

    registered = {name for name, one in vars(Operations).items() if "pgembed" in str(getattr(one, "__module__", ""))}
    made = {name for one in vars(pgembed.alembic).values() for name in [getattr(one, "called", None)] if isinstance(one, type) and name}
    assert {"create_embedding", "alter_linker"} <= made
    assert {f"pgembed.alembic.op.{name}" for name in made | registered} - in_right_files() == set()


def test_op_has_what_alembics_has() -> None:
    import alembic.op

    import pgembed.alembic.op as typed

    told = {name for name in dir(alembic.op) if not name.startswith("_") and callable(getattr(alembic.op, name))} - {
        "Operations",
        "context",
        "create_module_class_proxy",
    }
    written = ast.walk(ast.parse(Path(typed.__file__).read_text()))
    said = set()
    for node in written:
        if isinstance(node, ast.Assign):
            said |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.ImportFrom) and node.module == "alembic.op":
            said |= {name.name for name in node.names}
    assert told - said == set()
    assert typed.create_table is alembic.op.create_table
    assert typed.create_embedding is alembic.op.create_embedding  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        typed.create_nothing  # type: ignore[attr-defined]  # noqa: B018


def test_wrong_uses_are_all_refused() -> None:
    """Each statement of wrong.py has an ignore of its own, which mypy says to be unused where it takes the statement."""
    source = (TYPED / "wrong.py").read_text()
    lines = source.splitlines()
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Expr | ast.AnnAssign) and node.col_offset]
    taken = [lines[node.lineno - 1] for node in calls if not re.search(r"# type: ignore\[[a-z-]+\]$", lines[node.end_lineno - 1])]
    assert taken == []
    assert len(calls) > 30


def test_a_name_that_is_imported_only_is_not_used() -> None:
    assert used("from pgembed.sqlalchemy import search, link, views\nlink(1)\nviews.codes") == {
        "pgembed.sqlalchemy.link",
        "pgembed.sqlalchemy.views",
        "pgembed.sqlalchemy.views.codes",
    }
