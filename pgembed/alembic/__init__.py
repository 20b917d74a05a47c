"""pgembed for Alembic: importing it registers its operations, and lets autogenerate compare what it knows of.

::

    import pgembed.alembic

    def upgrade() -> None:
        op.install_pgembed()
        op.create_embedding("product", "name || ': ' || description", model="all-minilm-l6-v2")

It is all that env.py needs: no class of Alembic's or SQLAlchemy's is changed, and no hook is to be configured. Vectors are compared as
PostgreSQL sees them, also in databases without pgembed; embedded columns, codes and linkers with what the registry says of them.

Operations are given ``table_name``, ``schema`` (None: as the search_path has it) and ``column_name`` as those of Alembic; ``operations`` is
what ``op`` fills in.
"""

import pgembed.alembic.comparing
import pgembed.alembic.declared  # noqa: F401  # both register what compares
from pgembed.alembic import op
from pgembed.alembic.codecs import AddCode, DropCode, DropCodec, TrainCodec
from pgembed.alembic.columns import AlterVectorColumn
from pgembed.alembic.embeddings import AdoptEmbedding, AlterEmbedding, CreateEmbedding, DropEmbedding
from pgembed.alembic.indexes import CreateVectorIndex, DropVectorIndex
from pgembed.alembic.installing import DropPgembed, InstallPgembed, UpdatePgembed
from pgembed.alembic.linkers import AlterLinker, CreateLinker, DropLinker

__all__ = [
    "op",
    "InstallPgembed",
    "UpdatePgembed",
    "DropPgembed",
    "CreateEmbedding",
    "AdoptEmbedding",
    "AlterEmbedding",
    "DropEmbedding",
    "TrainCodec",
    "DropCodec",
    "AddCode",
    "DropCode",
    "CreateLinker",
    "AlterLinker",
    "DropLinker",
    "AlterVectorColumn",
    "CreateVectorIndex",
    "DropVectorIndex",
]
