"""Public names say what they are, what their arguments mean and what they raise."""

from __future__ import annotations

import ast
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any

import pytest

from pgembed import errors

ROOMS = ["alembic", "cli", "errors", "models", "psycopg", "report", "sqlalchemy", "testing"]


def public(module: Any) -> Iterator[tuple[str, Any]]:
    """Functions and classes that a module is for, and the methods and properties that these have of their own, by their names."""
    for name in getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]:
        one = getattr(module, name)
        if not str(getattr(one, "__module__", "")).startswith("pgembed") or not (inspect.isfunction(one) or inspect.isclass(one)):
            continue
        yield name, one
        if inspect.isclass(one):
            for inner, method in vars(one).items():
                function = method.fget if isinstance(method, property) else getattr(method, "__func__", method)
                if inspect.isfunction(function) and not inner.startswith("_") and not overrides(one, inner):
                    yield f"{name}.{inner}", function


def overrides(one: type, name: str) -> bool:
    """Whether somebody else's class says what it is, or one of pgembed's own above it."""
    return any(name in vars(base) for base in one.__mro__[1:])


def documented(module: Any) -> list[Any]:
    return [pytest.param(one, id=f"{module.__name__.removeprefix('pgembed.')}.{name}") for name, one in public(module)]


EVERYTHING = [each for room in ROOMS for each in documented(import_module(f"pgembed.{room}"))]
FUNCTIONS = [each for each in EVERYTHING if inspect.isfunction(each.values[0])]


def unexplained(function: Any) -> list[str]:
    """Arguments that neither the docstring names, nor one of a function that it refers to, nor the room's own, in double backticks."""
    module = inspect.getmodule(function)
    room = import_module(".".join(function.__module__.split(".")[:2]))
    said = doc(function)
    for other in re.findall(r"`(\w+)`", said):
        named = vars(module).get(other) or vars(room).get(other)
        said += doc(named) if inspect.isfunction(named) else ""
    for path in re.findall(r"``(pgembed\.[\w.]+)``", said):
        with suppress(AttributeError, ImportError):  # a function in SQL
            said += doc(pkgutil.resolve_name(path))
    words = set(re.findall(r"\w+", said)) | set(re.findall(r"``(\w+)``", str(room.__doc__))) | {"self", "cls"}
    arguments = inspect.signature(function).parameters.values()
    return [one.name for one in arguments if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) and one.name not in words]


def doc(one: Any) -> str:
    """Its docstring as it is written: Alembic puts another in its place."""
    if not inspect.isfunction(one):
        return str(vars(one).get("__doc__") or "")
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    return ast.get_docstring(function) or ""


def raised(function: Any) -> set[str]:
    """Errors of pgembed's that the function's own body raises."""
    body = ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function))))
    raises = [node.exc for node in body if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {node.func.attr for node in raises if isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "errors"}


@pytest.mark.parametrize("one", EVERYTHING)
def test_it_says_what_it_is(one: Any) -> None:
    assert len(doc(one).split()) >= 2, inspect.getsourcefile(one)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_says_what_its_arguments_are(function: Any) -> None:
    assert unexplained(function) == []


@pytest.mark.parametrize("function", FUNCTIONS)
def test_it_says_what_it_raises(function: Any) -> None:
    missing = {name for name in raised(function) if name not in doc(function).partition("Raises:")[2]}
    assert missing == set()


def explained(target: Any, text: str) -> None:
    """Only the text is explained; it raises nothing."""
    raise errors.InvalidParameter("as many do")


def test_what_is_missing_is_found() -> None:
    assert unexplained(explained) == ["target"]
    assert raised(explained) == {"InvalidParameter"}
    names = {each.id for each in EVERYTHING}
    assert {
        "sqlalchemy.search",
        "sqlalchemy.EntityPairs.right",
        "alembic.AddCode.add_code",
        "psycopg.register_async",
        "report.write",
    } <= names
    assert not {"sqlalchemy.BINVEC.bind_processor", "alembic.AddCode.reverse"} & names
