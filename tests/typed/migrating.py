"""migrating: a revision, with Alembic's operations and pgembed's; and what env.py may do with them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic.autogenerate import rewriter
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext

from pgembed.alembic import (
    AddCode,
    AdoptEmbedding,
    AlterEmbedding,
    AlterLinker,
    AlterVectorColumn,
    CreateEmbedding,
    CreateLinker,
    CreateVectorIndex,
    DropCode,
    DropCodec,
    DropEmbedding,
    DropLinker,
    DropPgembed,
    DropVectorIndex,
    InstallPgembed,
    TrainCodec,
    UpdatePgembed,
    op,
)


def upgrade() -> None:
    op.install_pgembed()
    op.update_pgembed(minimum="0.1.0")
    op.create_table("product", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))
    op.create_embedding("product", "name", sync="queued", schema="shop", refresh=True)
    op.adopt_embedding("offer", "vector", model="tiny")
    op.alter_embedding("product", source="upper(name)", existing_source="name")
    op.train_codec("product_sign", "product", "sign", bits=64)
    op.add_code("product", "product_sign")
    op.create_linker("companies", "company", names="name")
    op.alter_linker("companies", "company", names="upper(name)")
    with op.batch_alter_table("offer", schema="shop") as batch:
        batch.add_column(sa.Column("title", sa.Text))
        batch.create_embedding("title", metric="l2")
        batch.alter_embedding(sync="manual")
        batch.drop_embedding(keep_column=False)


def downgrade() -> None:
    op.drop_linker("companies")
    op.drop_code("product", "product_sign")
    op.drop_codec("product_sign", if_exists=True)
    op.drop_embedding("product", keep_column=False)
    op.drop_table("product")
    op.drop_pgembed()


writer = rewriter.Rewriter()


@writer.rewrites(CreateEmbedding)
def queued(context: MigrationContext, revision: tuple[str, ...], operation: CreateEmbedding) -> ops.MigrateOperation:
    operation.sync = "queued"
    return operation


declared: tuple[type[ops.MigrateOperation], ...] = (AdoptEmbedding, AlterEmbedding, DropEmbedding, TrainCodec, DropCodec, AddCode, DropCode)
linked: tuple[type[ops.MigrateOperation], ...] = (CreateLinker, AlterLinker, DropLinker, InstallPgembed, UpdatePgembed, DropPgembed)
plain: tuple[type[ops.MigrateOperation], ...] = (AlterVectorColumn, CreateVectorIndex, DropVectorIndex)
