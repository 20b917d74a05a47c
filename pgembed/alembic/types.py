"""types: which types of a model are vectors or codes, and how a migration names them."""

from __future__ import annotations

import re
from typing import Any

import pgvector.sqlalchemy
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import ARRAY, Dialect
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.exc import CompileError, UnsupportedCompilationError
from sqlalchemy.types import NullType, TypeDecorator, TypeEngine

import pgembed.sqlalchemy

NAMES = re.compile(r"\b(vector|halfvec|sparsevec|binvec|bit)\b", re.IGNORECASE)

# Modules whose types a migration names, by the module from which it imports them.
_HOMES = {"pgvector.sqlalchemy": pgvector.sqlalchemy, "pgembed.sqlalchemy": pgembed.sqlalchemy}


def is_vector(type_: TypeEngine[Any], dialect: Dialect) -> bool:
    """Whether values of a type are vectors or codes of bits, also inside of arrays, domains and TypeDecorators."""
    if isinstance(type_, DOMAIN):
        return is_vector(type_.data_type, dialect)
    if isinstance(type_, ARRAY):
        return is_vector(type_.item_type, dialect)
    if isinstance(type_, TypeDecorator):
        inner: Any = type_.load_dialect_impl(dialect)
        return not isinstance(inner, TypeDecorator) and is_vector(inner, dialect)
    if isinstance(type_, NullType):
        return False
    try:
        return NAMES.search(type_.compile(dialect=dialect)) is not None
    except (CompileError, UnsupportedCompilationError):
        return False


def render_types(context: AutogenContext) -> None:
    """Let the migrations of a run name pgvector's and pgembed's types by where users import them, and import that.

    Alembic by itself writes ``pgvector.sqlalchemy.vector.VECTOR(dim=3)`` and no import. A project's own ``render_item`` comes first.
    """
    configured = context.opts.get("render_item")
    if not isinstance(configured, _Renderer):
        context.opts["render_item"] = _Renderer(configured)


class _Renderer:
    """An Alembic ``render_item``: the project's own, if it has one, then ours."""

    def __init__(self, configured: Any) -> None:
        self._configured = configured

    def __call__(self, kind: str, item: Any, context: AutogenContext) -> Any:
        """What is written for an item, or False for Alembic's own way."""
        written = self._configured(kind, item, context) if self._configured else False
        if written is not False or kind != "type":
            return written
        if isinstance(item, DOMAIN) and not hasattr(context.migration_context.impl, "_render_DOMAIN_type"):
            return self._domain(item, context)
        for home, module in _HOMES.items():
            name = type(item).__name__
            if type(item).__module__.startswith(home) and getattr(module, name, None) is type(item):
                if context.imports is not None:
                    context.imports.add(f"import {home}")
                return f"{home}.{item!r}"
        return False

    def _domain(self, item: DOMAIN, context: AutogenContext) -> Any:
        """A domain over a vector: older Alembic writes the type inside as it is, and leaves create_type out."""
        inner = self("type", item.data_type, context)
        if inner is False or context.imports is None:
            return False
        context.imports.add("from sqlalchemy.dialects import postgresql")
        options = {name: getattr(item, name, None) for name in ("constraint_name", "not_null", "schema")}
        options |= {name: str(value) for name in ("default", "check") if (value := getattr(item, name, None)) is not None}
        said = "".join(f", {name}={value!r}" for name, value in options.items() if value)
        return f"postgresql.DOMAIN({item.name!r}, {inner}{said}{'' if item.create_type else ', create_type=False'})"
