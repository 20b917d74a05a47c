"""op: Alembic's ``op`` as a type checker should see it, with pgembed's operations.

::

    from pgembed.alembic import op

in place of ``from alembic import op``, in revisions or in script.py.mako. Both are the same at run time; Alembic's own stub does not know
operations that others register.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import alembic.op

if TYPE_CHECKING:
    from alembic.op import add_column as add_column
    from alembic.op import alter_column as alter_column
    from alembic.op import bulk_insert as bulk_insert
    from alembic.op import create_check_constraint as create_check_constraint
    from alembic.op import create_exclude_constraint as create_exclude_constraint
    from alembic.op import create_foreign_key as create_foreign_key
    from alembic.op import create_index as create_index
    from alembic.op import create_primary_key as create_primary_key
    from alembic.op import create_table as create_table
    from alembic.op import create_table_comment as create_table_comment
    from alembic.op import create_unique_constraint as create_unique_constraint
    from alembic.op import drop_column as drop_column
    from alembic.op import drop_constraint as drop_constraint
    from alembic.op import drop_index as drop_index
    from alembic.op import drop_table as drop_table
    from alembic.op import drop_table_comment as drop_table_comment
    from alembic.op import execute as execute
    from alembic.op import f as f
    from alembic.op import get_bind as get_bind
    from alembic.op import get_context as get_context
    from alembic.op import implementation_for as implementation_for
    from alembic.op import inline_literal as inline_literal
    from alembic.op import invoke as invoke
    from alembic.op import register_operation as register_operation
    from alembic.op import rename_table as rename_table
    from alembic.op import run_async as run_async
    from alembic.operations import BatchOperations, Operations

    from pgembed.alembic.codecs import AddCode, DropCode, DropCodec, TrainCodec
    from pgembed.alembic.embeddings import AdoptEmbedding, AlterEmbedding, CreateEmbedding, DropEmbedding
    from pgembed.alembic.installing import DropPgembed, InstallPgembed, UpdatePgembed
    from pgembed.alembic.linkers import AlterLinker, CreateLinker, DropLinker

    P = ParamSpec("P")
    R = TypeVar("R")

    def _of(method: Callable[Concatenate[Operations, P], R]) -> Callable[P, R]: ...
    def _with_batch(function: Callable[P, Any]) -> Callable[P, AbstractContextManager[Batch]]: ...

    class Batch(BatchOperations):
        """What ``batch_alter_table`` gives."""

        def create_embedding(
            self,
            source: str,
            *,
            column_name: str = "embedding",
            model: str | None = None,
            sync: str = "auto",
            metric: str = "cosine",
            chunk_tokens: int | None = None,
            chunk_overlap: int | None = None,
            by_hand: str = "mark",
        ) -> None:
            """See `CreateEmbedding.batch_create_embedding`."""

        def alter_embedding(
            self,
            column_name: str = "embedding",
            *,
            source: str | None = None,
            model: str | None = None,
            metric: str | None = None,
            sync: str | None = None,
            chunk_tokens: int | None = None,
            chunk_overlap: int | None = None,
            by_hand: str | None = None,
            existing_source: str | None = None,
            existing_model: str | None = None,
            existing_metric: str | None = None,
            existing_sync: str | None = None,
            existing_chunk_tokens: int | None = None,
            existing_chunk_overlap: int | None = None,
            existing_by_hand: str | None = None,
        ) -> None:
            """See `AlterEmbedding.batch_alter_embedding`."""

        def drop_embedding(self, column_name: str = "embedding", *, keep_column: bool | None = None) -> None:
            """See `DropEmbedding.batch_drop_embedding`."""

    install_pgembed = _of(InstallPgembed.install_pgembed)
    update_pgembed = _of(UpdatePgembed.update_pgembed)
    drop_pgembed = _of(DropPgembed.drop_pgembed)
    create_embedding = _of(CreateEmbedding.create_embedding)
    adopt_embedding = _of(AdoptEmbedding.adopt_embedding)
    alter_embedding = _of(AlterEmbedding.alter_embedding)
    drop_embedding = _of(DropEmbedding.drop_embedding)
    train_codec = _of(TrainCodec.train_codec)
    drop_codec = _of(DropCodec.drop_codec)
    add_code = _of(AddCode.add_code)
    drop_code = _of(DropCode.drop_code)
    create_linker = _of(CreateLinker.create_linker)
    alter_linker = _of(AlterLinker.alter_linker)
    drop_linker = _of(DropLinker.drop_linker)
    batch_alter_table = _with_batch(alembic.op.batch_alter_table)
else:

    def __getattr__(name: str) -> Any:
        return getattr(alembic.op, name)

    def __dir__() -> list[str]:
        return dir(alembic.op)
