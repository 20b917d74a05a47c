"""install pgembed"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.install_pgembed()


def downgrade() -> None:
    op.drop_pgembed()
