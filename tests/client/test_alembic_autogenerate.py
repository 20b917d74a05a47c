"""Autogenerate of what models declare: a revision brings it, the next one is empty, and what pgembed owns never shows."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import psycopg
import pytest
from migrated import Project
from pgvector.sqlalchemy import BIT, VECTOR
from sqlalchemy import URL, Column, Engine, ForeignKey, Index, Integer, MetaData, Table, Text, func, make_url, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from pgembed import errors
from pgembed.sqlalchemy import Code, Linker, embedded, embedded_column

Make = Callable[..., Project]


@pytest.fixture
def make(engine: Engine, tmp_path: Path) -> Iterator[Make]:
    """A project, by default over the test's database: `make(metadata)`."""
    projects: list[Project] = []

    def made(metadata: MetaData, url: URL | None = None, **options: Any) -> Project:
        projects.append(Project(tmp_path / f"migrations-{len(projects)}", url or engine.url, metadata, options))
        return projects[-1]

    yield made
    for project in projects:
        project.close()


def models(
    source: str | None = "name || ': ' || description",
    *,
    more: tuple[Any, ...] = (),
    described: bool = True,
    linker: bool = False,
    schema: str | None = None,
    **said: Any,
) -> MetaData:
    """A product with an embedded column; where the source is None, of which nobody says anything."""
    metadata = MetaData()
    Table("maker", metadata, Column("id", Integer, primary_key=True), Column("name", Text), schema=schema)
    product = Table(
        "product",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("name", Text),
        *([Column("description", Text)] if described else []),
        Column("maker_id", ForeignKey(f"{schema}.maker.id" if schema else "maker.id")),
        *([] if source is None else [embedded_column("embedding", source, **said)]),
        *more,
        schema=schema,
    )
    if linker:
        Linker("products", product, names="name", relations=[{"column": "maker_id", "names": "name"}])
    return metadata


def vectors(db: psycopg.Connection[Any], dim: int = 384) -> None:
    db.execute("INSERT INTO product (id, name) SELECT n, 'thing ' || n FROM generate_series(1, 30) AS n")
    db.execute(
        f"UPDATE product SET embedding = ARRAY(SELECT sin(product.id * d)::float4 FROM generate_series(1, {dim}) AS d)::vector({dim})"
    )


def names(project: Project) -> list[str]:
    """What the next revision would do: kinds of operations with what they are on."""
    return [
        " ".join(str(part) for part in (found[0], *found[2:4])) if isinstance(found, tuple) else str(found)
        for found in (operation.to_diff_tuple() for operation in project.differences())
    ]


def test_models_become_a_revision_that_is_all(make: Make, db: psycopg.Connection[Any]) -> None:
    project = make(models(model="all-minilm-l6-v2", sync="queued", codec="sign", linker=True))
    written = project.autogenerate()
    assert "import pgembed.alembic\n" in written
    upgrade, downgrade = written.split("def downgrade()")
    assert (
        "    op.create_embedding(\n"
        "        'product',\n"
        "        \"name || ': ' || description\",\n"
        "        column_name='embedding',\n"
        "        model='all-minilm-l6-v2',\n"
        "        sync='queued',\n"
        "    )\n"
        "    op.train_codec('product_embedding_sign', 'product', 'sign', column_name='embedding')\n"
        "    op.add_code('product', 'product_embedding_sign', embedding_column='embedding')\n"
    ) in upgrade
    assert upgrade.index("create_table('product'") < upgrade.index("create_embedding(") < upgrade.index("create_linker(")
    assert "sa.Column('embedding'" not in written
    order = ["drop_linker('products')", "drop_code(", "drop_codec(", "drop_embedding('product', 'embedding')", "drop_table('product')"]
    assert sorted(order, key=downgrade.index) == order
    for _ in range(2):
        project.upgrade()
        assert db.execute("SELECT source, model, sync FROM pgembed.embeddings").fetchall() == [
            ("name || ': ' || description", "all-minilm-l6-v2", "queued")
        ]
        assert db.execute("SELECT name FROM pgembed.linkers").fetchall() == [("products",)]
        assert project.differences() == []
        project.downgrade()
        assert db.execute("SELECT count(*) FROM pgembed._embedding AS e JOIN pg_class AS c ON c.oid = e.table_name").fetchone() == (0,)
    project.upgrade()
    vectors(db)
    # a codec can be trained now
    assert names(project) == ["train_codec product embedding", "add_code product product_embedding_sign"]
    project.autogenerate("codes")
    project.upgrade()
    assert db.execute("SELECT codec, is_generated FROM pgembed.codes").fetchall() == [("product_embedding_sign", False)]
    db.execute("CALL pgembed.fill_code('product')")
    for row in db.execute("SELECT pgembed.code_indexes('product', covering => '{maker_id}')").fetchall():
        db.execute(row[0])
    db.execute("CREATE INDEX product_embedding_idx ON product USING hnsw (embedding vector_cosine_ops)")
    assert project.differences() == []
    project.downgrade("-1")
    assert db.execute("SELECT count(*) FROM pgembed.codecs").fetchone() == (0,)


@pytest.mark.parametrize(
    ("before", "changed"),
    [
        ({"sync": "queued"}, {"source": "name", "sync": "manual", "metric": "l2", "by_hand": "refuse"}),
        ({"chunk_tokens": 50, "chunk_overlap": 5}, {"chunk_tokens": 60, "chunk_overlap": 5}),
    ],
)
def test_a_changed_declaration_alters(make: Make, db: psycopg.Connection[Any], before: dict[str, Any], changed: dict[str, Any]) -> None:
    project = make(models(**before))
    project.autogenerate("first")
    project.upgrade()
    assert project.differences() == []
    asked = "SELECT source, sync, metric, by_hand, chunk_tokens, chunk_overlap FROM pgembed.embeddings"
    said = db.execute(asked).fetchone()
    project.use(models(**changed))
    upgrade, downgrade = project.autogenerate("second").split("def downgrade()")
    assert upgrade.count("op.") == downgrade.count("op.") == 1
    known = {"source": "name || ': ' || description", "metric": "cosine", "by_hand": "mark", **before}
    for name, value in changed.items():
        if known[name] == value:
            assert f" {name}=" not in upgrade
        else:
            assert re.search(rf" {name}={re.escape(repr(value))}[,)]", upgrade)
            assert re.search(rf" existing_{name}={re.escape(repr(known[name]))}[,)]", upgrade)
            assert re.search(rf" {name}={re.escape(repr(known[name]))}[,)]", downgrade)
    project.upgrade()
    assert project.differences() == []
    project.downgrade("-1")
    assert db.execute(asked).fetchone() == said


def test_a_source_is_what_it_means(make: Make, db: psycopg.Connection[Any]) -> None:
    project = make(models("coalesce(name, '') || description"))
    project.autogenerate()
    project.upgrade()
    for same in ("COALESCE( name,'' )  ||\n\tdescription", "(coalesce(product.name, ''::text) || product.description)"):
        project.use(models(same))
        assert project.differences() == []
    for other in ("coalesce(name, ' ') || description", "coalesce(name, '') || coalesce(description, '')", "no_such_column"):
        project.use(models(other))
        assert names(project) == ["alter_embedding product embedding"]


@pytest.mark.parametrize("ways", [[("name", "title"), ("label", "word")], [("name", "x"), ("label", "name"), ("x", "label")]])
def test_a_renamed_column_is_no_change(make: Make, db: psycopg.Connection[Any], ways: list[tuple[str, str]]) -> None:
    """Neither where two have changed places; and what comes after it can be undone, though the registry has the text of before."""

    def declared(name: str, label: str, source: str) -> MetaData:
        metadata = MetaData()
        Table("maker", metadata, Column("id", Integer, primary_key=True), Column(label, Text))
        columns = [Column("id", Integer, primary_key=True), Column(name, Text), Column("maker_id", ForeignKey("maker.id"))]
        product = Table("product", metadata, *columns, Column(label, Text), embedded_column("embedding", source, sync="queued"))
        relations = [{"column": "maker_id", "names": f"upper({label})"}]
        Linker("products", product, names=f"upper({name})", aliases=f"ARRAY[{label}]", context=f"'it''s: ' || {label}", relations=relations)
        return metadata

    def renamed(source: str) -> MetaData:
        return declared(now["name"], now["label"], source.format(**now))

    now = {"name": "name", "label": "label"}
    source = "CASE WHEN {name} LIKE '%; FROM x' THEN {name} ELSE {name} || ' name ' || coalesce({label}, '') END"
    project = make(renamed(source))
    project.autogenerate()
    project.upgrade()
    for old, new in ways:
        db.execute(f'ALTER TABLE product RENAME COLUMN "{old}" TO "{new}"')
        now = {kept: new if called == old else called for kept, called in now.items()}
    db.execute(f"ALTER TABLE maker RENAME COLUMN label TO {now['label']}")
    project.use(renamed(source))
    assert project.differences() == []
    project.use(renamed("lower({name})"))
    assert names(project) == ["alter_embedding product embedding"]
    assert f"ELSE ({now['name']} || ' name '::text)" in project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    project.take_back()
    project.use(renamed(source))
    assert project.differences() == []
    row = f"INSERT INTO product (id, {now['name']}, {now['label']}) VALUES (1, 'boat', 'red'); CALL pgembed.refresh('product')"
    db.execute(row)
    assert db.execute("SELECT embedding = pgembed.embed('boat name red') FROM product").fetchone() == (True,)


def test_columns_that_come_and_go_with_a_source_do_so_in_order(make: Make, db: psycopg.Connection[Any]) -> None:
    project = make(models())
    project.autogenerate()
    project.upgrade()
    project.use(models("name || note", more=(Column("note", Text),), described=False))
    upgrade, downgrade = project.autogenerate().split("def downgrade()")
    assert upgrade.index("add_column(") < upgrade.index("alter_embedding(") < upgrade.index("drop_column(")
    assert downgrade.index("add_column(") < downgrade.index("alter_embedding(") < downgrade.index("drop_column(")
    for _ in range(2):
        project.upgrade()
        assert project.differences() == []
        project.downgrade("-1")


def test_chunks_and_other_places_of_vectors(make: Make, db: psycopg.Connection[Any]) -> None:
    project = make(models(chunk_tokens=50))
    project.autogenerate()
    project.upgrade()
    assert db.execute("SELECT chunk_table IS NOT NULL FROM pgembed.embeddings").fetchall() == [(True,)]
    assert project.differences() == []
    project.use(models())
    assert names(project) == ["drop_embedding product embedding", "create_embedding product embedding"]
    project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    project.take_back()
    project.use(models(None))
    assert names(project) == ["drop_embedding product embedding"]


def test_what_models_do_not_have_is_dropped_unless_a_filter_holds_it(make: Make, db: psycopg.Connection[Any]) -> None:
    project = make(models(codec="sign", linker=True))
    project.autogenerate()
    project.upgrade()
    vectors(db)
    project.autogenerate()
    project.upgrade()
    held = make(models(None), include_object=lambda _object, name, kind, *_: not (kind == "column" and name == "embedding"))
    held.config.set_main_option("version_locations", str(project.folder / "versions"))
    assert names(held) == []
    project.use(models(None))
    expected = ["drop_code product product_embedding_sign", "drop_codec", "drop_embedding product embedding"]
    # no linker is declared any more, so nobody says that this one is not wanted
    assert names(project) == expected
    project.autogenerate()
    project.upgrade()
    project.downgrade("-1")
    assert db.execute("SELECT source FROM pgembed.embeddings").fetchall() == [("name || ': ' || description",)]


def test_a_table_goes_with_all_that_is_on_it_and_comes_back(make: Make, db: psycopg.Connection[Any]) -> None:
    project = make(models(codec="sign", linker=True))
    project.autogenerate()
    project.upgrade()
    vectors(db)
    project.autogenerate()
    project.upgrade()
    left = MetaData()
    models().tables["maker"].to_metadata(left)
    project.use(left)
    upgrade, downgrade = project.autogenerate().split("def downgrade()")
    order = ["drop_linker('products')", "drop_code(", "drop_codec(", "drop_embedding(", "drop_table('product')"]
    assert sorted(order, key=upgrade.index) == order
    assert "drop_index" not in upgrade
    assert "pgembed_hash" not in downgrade
    project.upgrade()
    project.take_back()
    assert db.execute("SELECT name FROM pgembed.linkers").fetchall() == [("products",)]
    project.use(models(codec="sign", linker=True))
    # the rows are gone, and with them what a codec is trained on
    assert project.differences() == []


def test_a_plain_column_stays_with_whoever_declared_it_in_sql(make: Make, db: psycopg.Connection[Any]) -> None:
    metadata = models(None)
    project = make(metadata)
    project.autogenerate()
    project.upgrade()
    db.execute("SELECT pgembed.add_embedding('product', 'name'), pgembed.create_linker('products', 'product', names => 'name')")
    vectors(db)
    db.execute("SELECT pgembed.train_codec('mine', 'product', 'pq', bytes => 8, measure => false), pgembed.add_code('product', 'mine')")
    project.use(models(None, more=(Column("embedding", VECTOR(384)),)))
    assert names(project) == []
    declared = models("name")
    project.use(declared)
    assert names(project) == []  # codes by another name are not of the declaration's making


def test_vectors_that_are_there_are_adopted(make: Make, db: psycopg.Connection[Any]) -> None:
    project = make(models(None))
    project.autogenerate()
    project.upgrade()
    db.execute("ALTER TABLE product ADD COLUMN embedding vector(384)")
    db.execute("CREATE INDEX mine ON product USING hnsw (embedding vector_cosine_ops)")

    def index() -> Index:
        return Index("mine", "embedding", postgresql_using="hnsw", postgresql_ops={"embedding": "vector_cosine_ops"})

    mapped = models(None, more=(Column("embedding", VECTOR(384)), index()))
    project.use(models(more=(index(),)))
    assert names(project) == ["adopt_embedding product embedding"]
    project.autogenerate()
    project.upgrade()
    adopted = "SELECT adopted, source, model FROM pgembed.embeddings"
    assert db.execute(adopted).fetchall() == [(True, "name || ': ' || description", "all-minilm-l6-v2")]
    assert project.differences() == []
    project.take_back()
    assert db.execute("SELECT count(*) FROM pgembed.embeddings").fetchone() == (0,)
    project.use(mapped)
    assert project.differences() == []
    db.execute("SELECT pgembed.adopt_embedding('product', 'embedding')")
    assert project.differences() == []
    project.use(models(more=(index(),)))
    assert names(project) == ["drop_embedding product embedding", "adopt_embedding product embedding"]
    project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    project.take_back()
    assert db.execute(adopted).fetchall() == [(True, None, None)]


def test_an_index_of_ones_own_waits_for_the_column(make: Make, db: psycopg.Connection[Any]) -> None:
    index = Index("own", "embedding", postgresql_using="hnsw", postgresql_with={"m": 8}, postgresql_ops={"embedding": "vector_l2_ops"})
    project = make(models(more=(index,)))
    written = project.autogenerate()
    assert written.index("create_embedding(") < written.index("create_index('own'")
    for _ in range(2):
        project.upgrade()
        assert project.differences() == []
        project.downgrade()


def test_changed_codes_are_made_anew(make: Make, db: psycopg.Connection[Any]) -> None:
    project = make(models(codec=Code("pq", {"bytes": 8, "measure": False})))
    project.autogenerate()
    project.upgrade()
    vectors(db)
    project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    for other in (Code("pq", {"bytes": 16, "measure": False}), Code("pq", {"bytes": 8, "measure": False}, column_name="bits")):
        project.use(models(codec=other))
        found = names(project)
        assert found[0] == "drop_code product product_embedding_pq"
        assert found[-1].startswith("add_code product")
        project.autogenerate()
        project.upgrade()
        assert project.differences() == []
        project.take_back()
    project.use(models(metric="l2", codec=Code("pq", {"bytes": 8, "measure": False})))
    assert [one.split()[0] for one in names(project)] == ["drop_code", "drop_codec", "alter_embedding", "train_codec", "add_code"]
    project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    project.downgrade("-1")


def test_codes_that_are_mapped_too_are_made_by_pgembed(make: Make, db: psycopg.Connection[Any]) -> None:
    def declared() -> MetaData:
        code = Code("sign", {"measure": False, "code_type": "bit"}, column_name="bits")
        index = Index("own", "bits", postgresql_using="hnsw", postgresql_ops={"bits": "bit_hamming_ops"})
        return models(codec=code, more=(Column("bits", BIT(384)), index))

    project = make(declared(), render_as_batch=True)
    written = project.autogenerate()
    assert "sa.Column('bits'" not in written
    assert "create_index" not in written
    project.upgrade()
    assert project.differences() == []
    vectors(db)
    project.autogenerate()
    project.upgrade()
    assert names(project) == ["add_index"]
    project.use([declared(), MetaData()])
    project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    project.downgrade()


def test_linkers_are_compared(make: Make, db: psycopg.Connection[Any]) -> None:
    def declared(name: str = "name", label: str = "twin of", aliases: bool = True, second: bool = True) -> MetaData:
        metadata = MetaData()
        land = Table("land", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
        town = Table(
            "Town",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("name", Text),
            Column("size", Text),
            Column("land_id", ForeignKey("land.id")),
            embedded_column("embedding", "name", sync="queued"),
        )
        alias = Table(
            "town_alias", metadata, Column("town_id", ForeignKey("Town.id"), primary_key=True), Column("alias", Text, primary_key=True)
        )
        twin = Table(
            "twin", metadata, Column("a", ForeignKey("Town.id"), primary_key=True), Column("b", ForeignKey("Town.id"), primary_key=True)
        )
        relations: list[Any] = ["size", "land_id", {"table": twin, "from": "a", "to": "b", "label": label}]
        linker = Linker(
            "places",
            town,
            names=name,
            context="embedding",
            relations=relations if second else relations[:1],
            alias_tables=[alias] if aliases else [],
        )
        if second:
            linker.also(land, names="name", types="'land'")
        return metadata

    project = make(declared())
    project.autogenerate()
    for _ in range(2):
        project.upgrade()
        assert project.differences() == []
        project.downgrade()
    project.upgrade()
    before = db.execute("SELECT names, aliases, types, context, relations FROM pgembed.linkers").fetchall()
    project.use(declared("upper(name)", label="friend of", aliases=False))
    assert names(project) == ["alter_linker None Town"]
    project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    project.take_back()
    assert db.execute("SELECT names, aliases, types, context, relations FROM pgembed.linkers").fetchall() == before
    project.use(declared(second=False))
    assert names(project) == ["drop_linker", "create_linker"]
    other = declared()
    other.info["pgembed.linkers"].clear()
    Linker("others", other.tables["land"], names="name")
    project.use(other)
    assert names(project) == ["drop_linker", "create_linker"]
    project.autogenerate()
    project.upgrade()
    project.take_back()
    assert db.execute("SELECT names, aliases, types, context, relations FROM pgembed.linkers").fetchall() == before
    project.use(declared())
    assert project.differences() == []


def test_schemas_and_what_is_pgembeds_own(make: Make, db: psycopg.Connection[Any]) -> None:
    db.execute('CREATE SCHEMA "My shop"')
    project = make(models(schema="My shop", linker=True), include_schemas=True)
    written = project.autogenerate()
    assert "schema='My shop'" in written
    assert "pgembed.'" not in written
    project.upgrade()
    db.execute('SET search_path = "My shop", public; CREATE TABLE note (id int PRIMARY KEY, body text)')
    db.execute("CALL pgembed.link_table('products', 'note', 'body', 'note_link')")
    assert project.differences() != []  # the table of notes is nobody's
    metadata = models(schema="My shop", linker=True)
    Table("note", metadata, Column("id", Integer, primary_key=True), Column("body", Text), schema="My shop")
    project.use(metadata)
    assert project.differences() == []


def test_two_databases_and_one_without_pgembed(
    make: Make, empty_db: psycopg.Connection[Any], engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    other = engine.url.set(database=empty_db.info.dbname)
    empty_db.execute("CREATE EXTENSION vector")
    empty_db.execute("CREATE TABLE item (id int PRIMARY KEY, embedding vector(3))")
    plain = MetaData()
    Table("item", plain, Column("id", Integer, primary_key=True), Column("embedding", VECTOR(3)))
    without = make(plain, other)
    assert without.differences() == []
    assert not [record for record in caplog.records if record.name == "alembic.pgembed"]
    here = make(models())
    here.autogenerate()
    here.upgrade()
    assert here.differences() == []
    without.use(models())
    caplog.set_level(logging.WARNING, logger="alembic.pgembed")
    assert "create_embedding product embedding" in names(without)
    assert any("has no pgembed yet" in record.message for record in caplog.records)


def test_a_role_that_owns_its_tables_is_enough(make: Make, db: psycopg.Connection[Any], roles: list[str]) -> None:
    role = f"pgembed_alembic_{db.info.backend_pid}"
    roles.append(role)
    db.execute(f"CREATE ROLE {role}; GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    project = make(models(codec=Code("pq", {"bytes": 8, "measure": False}), linker=True))
    project.config.attributes["role"] = role
    project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    vectors(db)
    project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    project.use(models("coalesce(name, '')", codec=Code("pq", {"bytes": 8, "measure": False}), linker=True))
    assert names(project) == ["alter_embedding product embedding"]
    assert db.execute("SELECT tableowner = %s FROM pg_tables WHERE tablename = 'product'", [role]).fetchone() == (True,)
    project.downgrade()


def test_a_role_that_may_not_look_says_so(make: Make, db: psycopg.Connection[Any], roles: list[str]) -> None:
    """To it the columns that pgembed owns would be columns that nobody wants."""
    role = f"pgembed_outside_{db.info.backend_pid}"
    roles.append(role)
    project = make(models())
    project.autogenerate()
    project.upgrade()
    db.execute(f"CREATE ROLE {role}; REVOKE USAGE ON SCHEMA pgembed FROM PUBLIC; GRANT SELECT ON alembic_version TO {role}")
    project.config.attributes["role"] = role
    with pytest.raises(errors.InsufficientPrivilege, match="may not look into the schema pgembed") as caught:
        project.differences()
    assert "GRANT USAGE" in (caught.value.hint or "")
    project.use(models(None))
    assert project.differences() != []  # without declarations pgembed is no concern of the project's


def test_a_connection_may_be_in_autocommit_mode(make: Make, db: psycopg.Connection[Any]) -> None:
    project = make(models(codec="sign"))
    project.autogenerate()
    project.upgrade()
    project.config.attributes["engine"] = project.engine.execution_options(isolation_level="AUTOCOMMIT")
    assert project.differences() == []
    db.execute("ALTER TABLE product RENAME COLUMN description TO d; ALTER TABLE product RENAME COLUMN d TO description")
    project.use(models("upper(name)", codec="sign"))
    assert names(project) == ["alter_embedding product embedding"]


def test_the_log_has_what_was_found(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="alembic.pgembed")
    make(models(linker=True)).differences()
    assert "Detected create_embedding product embedding" in caplog.messages
    assert "Detected create_linker products" in caplog.messages


def test_other_drivers_do_as_well(make: Make, engine: Engine, db: psycopg.Connection[Any]) -> None:
    metadata = models("name || ': 50% :x'", codec=Code("pq", {"bytes": 8, "measure": False}), linker=True)
    first = make(metadata)
    first.autogenerate()
    first.upgrade()
    vectors(db)
    first.autogenerate()
    first.upgrade()
    query = {"host": db.info.host, "port": str(db.info.port)}
    urls = [engine.url.set(drivername="postgresql+psycopg2")]
    urls.append(engine.url.set(drivername="postgresql+pg8000", query={"unix_sock": f"{query['host']}/.s.PGSQL.{query['port']}"}))
    for url in urls:
        other = make(metadata, url)
        other.config.set_main_option("version_locations", str(first.folder / "versions"))
        assert other.differences() == []
        other.downgrade("-1")
        other.upgrade()
        assert other.differences() == []


def test_another_sort_of_database_is_left_alone(tmp_path: Path) -> None:
    metadata = MetaData()
    Table("item", metadata, Column("id", Integer, primary_key=True))
    project = Project(tmp_path / "migrations", make_url(f"sqlite:///{tmp_path}/other.db"), metadata)
    project.autogenerate()
    project.upgrade()
    assert project.differences() == []
    project.close()


def test_mapped_classes_mixins_and_odd_names(make: Make, db: psycopg.Connection[Any]) -> None:
    class Base(DeclarativeBase):
        pass

    class Named:
        name: Mapped[str]
        vector: Mapped[list[float] | None] = embedded(lambda c: c.name + ": 50% :x " + func.upper(c.name), sync="queued")

    class Thing(Named, Base):
        __tablename__ = "thing"
        id: Mapped[int] = mapped_column(primary_key=True)
        other: Mapped[list[float] | None] = embedded(lambda: Thing.name + "\n it's \\ x", chunk_tokens=30)

    class Odd(Named, Base):
        __tablename__ = "Odd one"
        __table_args__: ClassVar[dict[str, Any]] = {"schema": "public"}  # where it would be anyway
        id: Mapped[int] = mapped_column(primary_key=True)
        odd: Mapped[str] = mapped_column("Odd Name")
        mine: Mapped[list[float] | None] = embedded('lower("Odd Name")', column_name="My vec", codec="sign")

    Linker("odd", Odd, names=lambda: Odd.odd)
    project = make(Base.metadata)
    project.autogenerate()
    for _ in range(2):
        project.upgrade()
        assert project.differences() == []
        project.downgrade()
    project.upgrade()
    sources = "SELECT column_name, source FROM pgembed._embedding WHERE source !~ 'upper' ORDER BY 1"
    assert db.execute(sources).fetchall() == [("My vec", 'lower("Odd Name")'), ("other", "name || '\n it''s \\ x'")]
    db.execute("CALL pgembed.change_model('thing', 'all-minilm-l6-v2-int8', column_name => 'vector', switch => false)")
    assert db.execute("SELECT count(*) FROM pgembed._embedding WHERE role = 'next'").fetchone() == (1,)
    assert project.differences() == []


def test_looking_leaves_nothing_behind(make: Make, engine: Engine, db: psycopg.Connection[Any]) -> None:
    project = make(models())
    project.autogenerate()
    project.upgrade()
    project.use(models("name"))
    before = db.execute("SELECT count(*), max(oid::bigint) FROM pg_class").fetchone()
    assert names(project) == ["alter_embedding product embedding"]
    assert db.execute("SELECT count(*), max(oid::bigint) FROM pg_class").fetchone() == before
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pgembed.embeddings")) == 1
