"""pgembed.alembic: operations on embeddings, codecs and linkers, as text and on a server."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations, ops
from migrated import Project
from sqlalchemy import Column, Engine, Integer, Text, column, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from pgembed import errors
from pgembed.alembic import AddCode, AlterEmbedding, AlterLinker, CreateEmbedding, CreateLinker, DropCodec, DropEmbedding, TrainCodec

TABLE = "CREATE TABLE product (id int PRIMARY KEY, name text)"


def script(run: Callable[[Any], None]) -> str:
    """What a migration writes with --sql."""
    written = io.StringIO()
    context = MigrationContext.configure(dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written})
    run(Operations(context))
    return written.getvalue()


@pytest.fixture
def project(engine: Engine, tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path / "migrations", engine.url)
    yield made
    made.close()


WRITTEN: list[tuple[Callable[[Any], None], str]] = [
    (
        lambda op: op.create_embedding("product", "name"),
        "SELECT pgembed.add_embedding(target => 'product'::regclass, source => 'name');\n\n",
    ),
    (
        lambda op: op.create_embedding(
            "Odd one",
            "'50%:x ' || \"Na'me\" || E'\\\\n'\n",
            column_name="vector",
            model="m",
            sync="queued",
            metric="l2",
            chunk_tokens=100,
            chunk_overlap=10,
            by_hand="refuse",
            schema='Sh"op',
        ),
        'SELECT pgembed.add_embedding(target => \'"Sh""op"."Odd one"\'::regclass,'
        " source =>  E'''50%:x '' || \"Na''me\" || E''\\\\\\\\n''\n',"
        " model => 'm', column_name => 'vector', sync => 'queued', metric => 'l2', chunk_tokens => 100, chunk_overlap => 10,"
        " by_hand => 'refuse');\n\n",
    ),
    (
        lambda op: op.create_embedding("product", "name", refresh=True),
        "SELECT pgembed.add_embedding(target => 'product'::regclass, source => 'name');\n\n"
        "COMMIT;\n\n"
        "CALL pgembed.refresh(target => 'product'::regclass, column_name => 'embedding');\n\n"
        "BEGIN;\n\n",
    ),
    (
        lambda op: op.adopt_embedding("product", "e", source="name", metric="l2"),
        "SELECT pgembed.adopt_embedding(target => 'product'::regclass, column_name => 'e', source => 'name', metric => 'l2');\n\n",
    ),
    (
        lambda op: op.alter_embedding("product", sync="manual", existing_sync="auto", schema="shop"),
        "SELECT pgembed.alter_embedding(target => 'shop.product'::regclass, column_name => 'embedding', sync => 'manual');\n\n",
    ),
    (
        lambda op: op.drop_embedding("product", "e", keep_column=True),
        "SELECT pgembed.drop_embedding(target => 'product'::regclass, column_name => 'e', keep_column => true);\n\n",
    ),
    (
        lambda op: op.train_codec("c", "product", "pq", bytes=8, queries="asked", measure=False, required=True),
        "SELECT pgembed.train_codec(name => 'c', target => 'product'::regclass, queries => 'asked'::regclass, method => 'pq',"
        " column_name => 'embedding', bytes => 8, measure => false);\n\n",
    ),
    (
        lambda op: op.train_codec("c", "product", "sign"),
        "DO $pgembed$\nBEGIN\n"
        '    IF EXISTS (SELECT FROM product WHERE "embedding" IS NOT NULL) THEN\n'
        "        PERFORM pgembed.train_codec(name => 'c', target => 'product'::regclass, method => 'sign', column_name => 'embedding');\n"
        "    ELSE\n"
        "        RAISE WARNING USING MESSAGE = 'codec \"c\" is not trained: product.embedding has no vectors yet',"
        " HINT = 'Once its rows are embedded, call pgembed.train_codec() and add_code(), or make a revision that does.';\n"
        "    END IF;\nEND\n$pgembed$;\n\n",
    ),
    (
        lambda op: op.add_code("product", "c", required=True, is_generated=False),
        "SELECT pgembed.add_code(target => 'product'::regclass, codec => 'c', is_generated => false);\n\n",
    ),
    (
        lambda op: op.drop_code("product", "c", if_exists=True),
        "DO $pgembed$\nBEGIN\n"
        "    IF EXISTS (SELECT FROM pgembed.codes WHERE table_name = 'product'::regclass AND column_name = 'c') THEN\n"
        "        PERFORM pgembed.drop_code(target => 'product'::regclass, column_name => 'c');\n"
        "    END IF;\nEND\n$pgembed$;\n\n",
    ),
    (lambda op: op.drop_code("product", "c"), "SELECT pgembed.drop_code(target => 'product'::regclass, column_name => 'c');\n\n"),
    (lambda op: op.drop_codec("c"), "SELECT pgembed.drop_codec(name => 'c');\n\n"),
    (
        lambda op: op.create_linker("towns", "town", names="name", relations=["mayor_id", {"table": "twin", "label": "twin of"}]),
        "SELECT pgembed.create_linker(name => 'towns', target => 'town'::regclass, names => 'name',"
        ' relations => \'["mayor_id", {"table": "twin", "label": "twin of"}]\');\n\n',
    ),
    (
        lambda op: op.create_linker(
            "places",
            targets=[
                {"table_name": "town", "names": "name", "relations": ["land_id"]},
                {"table_name": "land", "schema": "geo", "names": "name", "types": "'land'"},
            ],
        ),
        "SELECT pgembed.create_linker(name => 'places', target => 'town'::regclass, names => 'name');\n\n"
        "SELECT pgembed.add_linker_target(linker => 'places', target => 'geo.land'::regclass, names => 'name', types => '''land''');\n\n"
        "SELECT pgembed.alter_linker(name => 'places', target => 'town'::regclass, relations => '[\"land_id\"]');\n\n",
    ),
    (
        lambda op: op.alter_linker("towns", "town", names="upper(name)", aliases=""),
        "SELECT pgembed.alter_linker(name => 'towns', target => 'town'::regclass, names => 'upper(name)', aliases => '');\n\n",
    ),
    (lambda op: op.drop_linker("it's"), "SELECT pgembed.drop_linker(name => 'it''s');\n\n"),
]


@pytest.mark.parametrize(("run", "expected"), WRITTEN)
def test_a_script_is_what_a_person_would_type(run: Callable[[Any], None], expected: str) -> None:
    assert script(run) == expected


def test_what_needs_the_database_cannot_be_a_script() -> None:
    with pytest.raises(errors.InvalidParameter, match="cannot ask the database") as caught:
        script(lambda op: op.add_code("product", "c", fill=True))
    assert "code_indexes" in (caught.value.hint or "")


def test_an_operation_is_rendered_as_a_call_and_brings_its_import() -> None:
    context = ops.UpgradeOps(
        [
            CreateEmbedding("product", "it's", model="m", refresh=True),
            CreateEmbedding("product", "name || ': ' || description", column_name="other", sync="queued", metric="l2", schema="shop"),
            CreateLinker("towns", [{"table_name": "town", "names": "name"}]),
        ]
    )
    assert render_python_code(context) == (
        "# ### commands auto generated by Alembic - please adjust! ###\n"
        "    op.create_embedding('product', \"it's\", column_name='embedding', model='m', refresh=True)\n"
        "    op.create_embedding(\n"
        "        'product',\n"
        "        \"name || ': ' || description\",\n"
        "        column_name='other',\n"
        "        sync='queued',\n"
        "        metric='l2',\n"
        "        schema='shop',\n"
        "    )\n"
        "    op.create_linker('towns', 'town', names='name')\n"
        "    # ### end Alembic commands ###"
    )


def test_operations_are_each_others_reverse() -> None:
    made = CreateEmbedding("product", "name", schema="shop")
    undone = made.reverse()
    assert isinstance(undone, DropEmbedding)
    assert (undone.table_name, undone.column_name, undone.schema, undone.keep_column) == ("product", "embedding", "shop", None)
    assert undone.reverse() is made
    trained, code = TrainCodec("c", "product", "sign"), AddCode("product", "c", column_name="bits")
    assert trained.reverse().reverse() is trained
    assert code.reverse().to_diff_tuple() == ("drop_code", None, "product", "bits")
    assert code.reverse().reverse() is code
    linker = CreateLinker("towns", [{"table_name": "town", "names": "name"}])
    assert linker.reverse().reverse() is linker
    altered = AlterEmbedding("product", changes={"sync": "manual"}, existing={"sync": "auto"})
    assert altered.reverse().statements() == [
        "SELECT pgembed.alter_embedding(target => 'product'::regclass, column_name => 'embedding', sync => 'auto')"
    ]
    assert AlterLinker("towns", "town", changes={"names": "a"}, existing={"names": "b"}).reverse().changes == {"names": "b"}
    for unknown in (DropEmbedding("product"), DropCodec("c"), AlterEmbedding("product", changes={"sync": "manual"})):
        with pytest.raises(ValueError, match="not reversible"):
            unknown.reverse()


def test_what_is_wrong_is_said_before_a_server_is_asked() -> None:
    for wrong, message in (
        (lambda op: op.alter_embedding("product"), "nothing is to be changed"),
        (lambda op: op.create_embedding("product", column("name")), "is a text, not <"),
        (lambda op: op.create_embedding("product", None), "is a text, not None"),
        (lambda op: op.create_linker("towns"), "at least one target"),
        (lambda op: op.create_linker("towns", "town", targets=[{"table_name": "town"}]), "both given"),
        (lambda op: op.create_linker("towns", targets=[{"table_name": "town", "name": "x"}]), "has no name"),
    ):
        with pytest.raises(errors.PgembedError, match=message):
            script(wrong)


def test_a_migration_does_not_embed_and_refresh_does(
    project: Project, db: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    db.execute(TABLE)
    db.execute("INSERT INTO product VALUES (1, 'rain: 50% :off')")
    project.write("a", 'op.create_embedding("product", "name || \': 50% :x\'")', 'op.drop_embedding("product")')
    project.upgrade()
    assert db.execute("SELECT source, pending FROM pgembed.embeddings").fetchall() == [("name || ': 50% :x'", 1)]
    assert db.execute("SELECT count(*) FROM pg_index WHERE indrelid = 'product'::regclass AND indisvalid").fetchone() == (3,)
    project.downgrade()
    assert db.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (0,)
    project.write("b", 'op.create_embedding("product", "name", refresh=True)\nop.execute("INSERT INTO product VALUES (2, \'late\')")')
    caplog.set_level(logging.INFO, logger="alembic.pgembed")
    project.upgrade("b")
    assert db.execute("SELECT fresh, pending + coalesce(stale, 0) FROM pgembed.embeddings").fetchone() in [(2, 0), (1, 1)]
    assert any("product.embedding" in record.message and "in " in record.message for record in caplog.records)
    assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [("b",)]


@pytest.mark.parametrize("again", ["same", "other"])
def test_what_was_interrupted_goes_on(
    project: Project, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, again: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As by Ctrl-C: what is committed by then is not done again, unless the revision has become another one."""

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    db.execute(TABLE)
    db.execute("INSERT INTO product SELECT n, 'thing ' || n FROM generate_series(1, 40) AS n")
    said = "sync='queued', metric='l2', chunk_tokens=None, model='all-minilm-l6-v2', refresh=True"
    project.write("a", f"op.create_embedding('product', 'name', {said})", "op.drop_embedding('product')")
    with monkeypatch.context() as patched:
        patched.setattr(CreateEmbedding, "afterwards", interrupted)
        with pytest.raises(KeyboardInterrupt):
            project.upgrade()
    assert db.execute("SELECT pending, (SELECT count(*) FROM alembic_version) FROM pgembed.embeddings").fetchone() == (40, 0)
    if again == "other":
        project.write("a", f"op.create_embedding('product', 'upper(name)', {said})")
        with pytest.raises(DBAPIError, match="is an embedded column already"):
            project.upgrade()
        return
    caplog.set_level(logging.INFO, logger="alembic.pgembed")
    project.upgrade()
    assert "create_embedding was interrupted and goes on" in caplog.text
    assert db.execute("SELECT fresh, pending FROM pgembed.embeddings").fetchone() == (40, 0)
    project.write("b", "op.train_codec('c', 'product', 'sign', measure=False)", "op.drop_codec('c')", after="a")
    project.write("c", "op.add_code('product', 'c', fill=True)", "op.drop_code('product', 'c')", after="b")
    project.config.attributes["options"]["transaction_per_migration"] = True
    with monkeypatch.context() as patched:
        patched.setattr(AddCode, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            project.upgrade()
    project.upgrade()
    assert db.execute("SELECT is_filled, pending FROM pgembed.codes").fetchall() == [(True, 0)]
    project.downgrade()
    assert db.execute("SELECT count(*) FROM pgembed._embedding").fetchone() == (0,)


def test_ctrl_c_is_seen_as_such(project: Project, db: psycopg.Connection[Any]) -> None:
    """SQLAlchemy closes a connection whose statement is interrupted."""

    def interrupted(_cursor: Any, statement: str, _context: Any) -> None:
        if statement.startswith("CALL"):
            raise KeyboardInterrupt

    db.execute(TABLE)
    project.write("a", "op.create_embedding('product', 'name', refresh=True)")
    event.listen(project.engine, "do_execute_no_params", interrupted)
    with pytest.raises(KeyboardInterrupt):
        project.upgrade()
    event.remove(project.engine, "do_execute_no_params", interrupted)
    project.upgrade()
    assert db.execute("SELECT version_num FROM alembic_version").fetchall() == [("a",)]


@pytest.mark.parametrize(
    "run",
    [
        lambda op: op.create_embedding("product", "name", refresh=True),
        lambda op: op.train_codec("c", "product", "sign"),
        lambda op: op.drop_code("product", "c", if_exists=True),
        lambda op: op.create_linker("l", "product", names="name"),
    ],
)
def test_a_database_without_pgembed_is_named(empty_db: psycopg.Connection[Any], engine: Engine, run: Callable[[Any], None]) -> None:
    empty_db.execute(TABLE)
    other = create_engine(engine.url.set(database=empty_db.info.dbname), poolclass=NullPool)
    with other.connect() as connection, pytest.raises(errors.NotReady, match="pgembed is not in this database") as caught:
        run(Operations(MigrationContext.configure(connection)))
    assert "op.install_pgembed()" in (caught.value.hint or "")


def test_refresh_needs_a_transaction_of_alembics_own(engine: Engine, db: psycopg.Connection[Any]) -> None:
    db.execute(TABLE)
    with engine.connect() as connection, connection.begin():
        op: Any = Operations(MigrationContext.configure(connection))
        with pytest.raises(errors.NotSupported, match="is not Alembic's"):
            op.create_embedding("product", "name", refresh=True)


def test_a_codec_waits_for_vectors(project: Project, db: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture) -> None:
    db.execute("CREATE TABLE spot (id int PRIMARY KEY, e vector(8)); SELECT pgembed.adopt_embedding('spot', 'e')")
    project.write(
        "a",
        'op.train_codec("spot_sign", "spot", "sign", column_name="e", measure=False)\nop.add_code("spot", "spot_sign")',
        'op.drop_code("spot", "spot_sign", if_exists=True)\nop.drop_codec("spot_sign", if_exists=True)',
    )
    project.upgrade()
    said = [record.message for record in caplog.records if record.name == "alembic.pgembed"]
    assert said[0].startswith('codec "spot_sign" is not trained: spot.e has no vectors yet (Once its rows are embedded')
    assert said[1].startswith('spot has no codes: codec "spot_sign" is not trained')
    project.downgrade()
    project.write("b", 'op.train_codec("spot_sign", "spot", "sign", column_name="e", required=True)')
    with pytest.raises(DBAPIError, match=r"spot\.e|empty|no "):
        project.upgrade("b")
    db.execute(
        "INSERT INTO spot SELECT n, ARRAY(SELECT sin(n * d)::float4 FROM generate_series(1, 8) AS d)::vector"
        " FROM generate_series(1, 40) AS n"
    )
    project.write(
        "c",
        'op.train_codec("spot_sign", "spot", "sign", column_name="e", measure=False)\n'
        'op.add_code("spot", "spot_sign", column_name="bits", covering=["id"], fill=True)',
        'op.drop_code("spot", "bits")\nop.drop_codec("spot_sign")',
    )
    project.upgrade("c")
    found = db.execute("SELECT is_filled, pending, covering_index IS NOT NULL FROM pgembed.codes").fetchall()
    assert found == [(True, 0, True)]
    project.downgrade()
    assert db.execute("SELECT count(*) FROM pgembed.codecs").fetchone() == (0,)


def test_a_batch_does_things_in_their_order(project: Project, db: psycopg.Connection[Any]) -> None:
    db.execute(TABLE)
    project.write(
        "a",
        'with op.batch_alter_table("product") as batch:\n'
        '    batch.add_column(sa.Column("note", sa.Text()))\n'
        "    batch.create_embedding(\"name || ' 50% ' || note\", column_name='e', sync='queued')\n"
        "    batch.alter_embedding('e', sync='manual')\n",
        "with op.batch_alter_table('product') as batch:\n    batch.drop_embedding('e')\n    batch.drop_column('note')",
    )
    assert project.script().index("ADD COLUMN note") < project.script().index("add_embedding(")
    project.upgrade()
    assert db.execute("SELECT source, sync FROM pgembed.embeddings").fetchall() == [("name || ' 50% ' || note", "manual")]
    project.downgrade()
    assert db.execute(
        "SELECT count(*) FROM pg_attribute WHERE attrelid = 'product'::regclass AND attnum > 0 AND NOT attisdropped"
    ).fetchone() == (2,)


def test_a_batch_that_makes_the_table_anew_is_refused(project: Project, db: psycopg.Connection[Any]) -> None:
    db.execute(TABLE)
    project.write("a", "with op.batch_alter_table('product', recreate='always') as batch:\n    batch.create_embedding('name')")
    with pytest.raises(errors.NotSupported, match="makes the table anew") as caught:
        project.upgrade()
    assert "recreate='always'" in (caught.value.hint or "")


def test_branches_upgrade_and_downgrade(project: Project, db: psycopg.Connection[Any]) -> None:
    project.write(
        "a",
        'op.create_table("product", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.Text))',
        'op.drop_table("product")',
    )
    project.write("b", 'op.create_embedding("product", "name", sync="queued")', 'op.drop_embedding("product")', after="a")
    project.write("c", 'op.create_linker("products", "product", names="name")', 'op.drop_linker("products")', after="a")
    for _ in range(2):
        project.upgrade("heads")
        assert db.execute("SELECT version_num FROM alembic_version ORDER BY 1").fetchall() == [("b",), ("c",)]
        assert db.execute("SELECT name FROM pgembed.linkers").fetchall() == [("products",)]
        project.downgrade()
        assert db.execute("SELECT to_regclass('product'), (SELECT count(*) FROM pgembed.linkers)").fetchone() == (None, 0)


def test_the_readmes_revision_runs(project: Project, db: psycopg.Connection[Any]) -> None:
    readme = (Path(__file__).resolve().parents[2] / "migrations" / "README.md").read_text("utf-8")
    (shown,) = (block for block in re.findall(r"^```py\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL) if "op.create_embedding(" in block)
    head = "import sqlalchemy as sa\nfrom alembic import op\n\nimport pgembed.alembic\n\nrevision, down_revision = 'a', None\n\n\n"
    (project.folder / "versions" / "a.py").write_text(head + shown)
    for _ in range(2):
        project.upgrade()
        assert db.execute("SELECT sync FROM pgembed.embeddings").fetchall() == [("queued",)]
        project.downgrade()
        assert db.execute("SELECT to_regclass('product')").fetchone() == (None,)


def test_nothing_of_alembics_is_changed_by_importing() -> None:
    assert ops.CreateTableOp.create_table.__module__ == "alembic.operations.ops"
    assert Column("a", Integer).type.__class__ is Integer
    assert Text.__module__.startswith("sqlalchemy")
