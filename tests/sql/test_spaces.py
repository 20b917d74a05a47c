"""Spaces: compensation of drift, adapters from labels, provenance, and what is never compared."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from support import AsRole, Connection, MakeRole, Notices, Refused

safetensors = pytest.importorskip("safetensors.numpy")
tokenizers = pytest.importorskip("tokenizers")

pytestmark = pytest.mark.one_transaction

DIM, WORDS, ROWS = 16, 240, 260
VOCABULARY = [f"w{number}" for number in range(WORDS)]


def write_model(folder: Path, seed: int) -> Path:
    """A static model of some invented words, each a direction at random."""
    folder.mkdir()
    pieces = {piece: at for at, piece in enumerate(["[UNK]", *VOCABULARY])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(pieces, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    rows = np.random.default_rng(seed).standard_normal((len(pieces), DIM)).astype(np.float32)
    safetensors.save_file({"embeddings": rows}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="module")
def folders() -> Iterator[dict[str, Path]]:
    place = Path(tempfile.mkdtemp(prefix="pgembed-test-"))
    place.chmod(0o755)
    yield {name: write_model(place / name, seed) for seed, name in enumerate(("one", "other"))}
    shutil.rmtree(place)


@pytest.fixture
def known(db: Connection, folders: dict[str, Path]) -> Iterator[Connection]:
    """Models `one`, `turned`, which is the same in another basis, `short`, its first half, and `other`, which has nothing to do with it."""
    for name, folder in folders.items():
        db.execute("SELECT pgembed.register_model(%s, %s)", [name, str(folder)])
    db.execute("SELECT pgembed.register_model('turned', 'one', basis => 'rotation'), pgembed.register_model('short', 'one', dim => 8)")
    yield db
    # files outlive a rollback, and the next call sweeps what has no row
    db.execute("DELETE FROM pgembed._embedding; DELETE FROM pgembed._model")
    db.execute("SELECT pgembed.register_model('last', 'all-minilm-l6-v2', dim => 1)")


def bodies() -> list[str]:
    chance = random.Random(1)
    return [" ".join(chance.choices(VOCABULARY, k=12)) for _ in range(ROWS)]


@pytest.fixture
def doc(known: Connection) -> Connection:
    """Documents of twelve words, embedded by `one`."""
    known.execute("CREATE TABLE doc (id int PRIMARY KEY, body text)")
    known.execute("INSERT INTO doc SELECT n, b FROM unnest(%s::text[]) WITH ORDINALITY AS t (b, n)", [bodies()])
    known.execute("SELECT pgembed.add_embedding('doc', 'body', model => 'one', sync => 'manual')")
    known.execute("CALL pgembed.refresh('doc', build_index => false)")
    return known


def found(db: Connection, query: str, table: str = "doc") -> list[tuple[int, float]]:
    rows = db.execute("SELECT (item).id, distance FROM pgembed.search(NULL::" + table + ", %s) ORDER BY rank", [query]).fetchall()
    return [(row[0], row[1]) for row in rows]


def report(db: Connection, arguments: str) -> dict[str, tuple[float, float, str]]:
    rows = db.execute(f"SELECT method, recall_10_kept, cosine, advice FROM pgembed.compensation_report({arguments})").fetchall()
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def adapters(db: Connection) -> list[tuple[object, ...]]:
    return db.execute("SELECT table_name::text, column_name::text, kind, method, model, in_force FROM pgembed.adapters").fetchall()


def test_the_report_tells_what_each_map_keeps(doc: Connection) -> None:
    lines = report(doc, "'doc', 'turned'")
    assert set(lines) == {"mean", "procrustes", "relative", "ridge", "none"}
    assert lines["procrustes"][:2] == (pytest.approx(1), pytest.approx(1, abs=1e-6))
    assert lines["none"][0] < 0.5
    assert "never" in lines["none"][2]
    assert "do not use it" in lines["mean"][2]
    assert "until the rows are embedded anew" in lines["procrustes"][2]
    assert next(iter(lines)) in ("procrustes", "ridge")  # the best comes first
    counted = doc.execute(
        "SELECT pairs, queries, rows, own_row = own_row_before FROM pgembed.compensation_report('doc', 'turned')"
        " WHERE method = 'procrustes'"
    ).fetchone()
    assert counted == (ROWS - ROWS // 4, ROWS // 4, ROWS, True)
    assert adapters(doc) == []


def test_a_rotation_is_undone(doc: Connection, notices: Notices) -> None:
    before = found(doc, "w3 w7 w11")
    kept = doc.execute("SELECT pgembed.compensate('doc', 'turned', method => 'procrustes')").fetchone()
    assert kept == (pytest.approx(1),)
    assert "procrustes keeps 1.000 of the 10 rows that one finds" in notices[-1].message
    assert "drop_adapter" in (notices[-1].hint or "")
    after = found(doc, "w3 w7 w11")
    assert [row[0] for row in after] == [row[0] for row in before]
    assert [row[1] for row in after] == pytest.approx([row[1] for row in before], abs=1e-5)
    row = doc.execute(
        "SELECT a.matrix, a.bias, m.basis_matrix FROM pgembed._adapter AS a JOIN pgembed._model AS m ON m.name = a.model"
    ).fetchone()
    assert row is not None
    matrix, bias, rotation = (np.frombuffer(part, "<f4") for part in row)
    # v in the new basis is rotation @ v, so the way back is its transpose
    assert np.abs(matrix.reshape(DIM, DIM) - rotation.reshape(DIM, DIM).T).max() < 1e-5
    assert np.abs(bias).max() < 1e-5
    assert adapters(doc) == [("doc", "embedding", "compensation", "procrustes", "turned", True)]


def test_every_search_with_a_text_goes_through_it(doc: Connection) -> None:
    own = doc.execute("SELECT pgembed.embed('w1 w2', 'one')").fetchone()
    doc.execute("SELECT pgembed.compensate('doc', 'other', min_recall => 0, method => 'mean')")
    mapped = doc.execute("SELECT pgembed.embed_query('doc', 'w1 w2')").fetchone()
    assert mapped != own
    doc.execute("CREATE VIEW seen AS SELECT * FROM doc")
    nearest = doc.execute("SELECT id FROM doc ORDER BY embedding <=> %s::vector LIMIT 10", [mapped[0] if mapped else None]).fetchall()
    for table in ("doc", "seen"):
        assert [row[0] for row in found(doc, "w1 w2", table)] == [row[0] for row in nearest]
    keys = doc.execute("SELECT key::int FROM pgembed.search_keys('doc', 'w1 w2') ORDER BY rank").fetchall()
    assert keys == nearest
    script = doc.execute("SELECT value FROM pgembed.explain_search(NULL::doc, 'w1 w2') WHERE property = 'script'").fetchone()
    assert script is not None
    assert "embed_query" in script[0]
    # texts of documents are what they were, and so is a search for what is like a row
    doc.execute("UPDATE doc SET body = 'w5 w6' WHERE id = 1")
    doc.execute("CALL pgembed.refresh('doc', build_index => false)")
    assert doc.execute("SELECT embedding = pgembed.embed('w5 w6', 'one', 'document') FROM doc WHERE id = 1").fetchone() == (True,)


def test_it_is_taken_back(doc: Connection, refused: Refused) -> None:
    before = doc.execute("SELECT pgembed.embed_query('doc', 'w1 w2')").fetchone()
    doc.execute("SELECT pgembed.compensate('doc', 'other', min_recall => 0)")
    assert doc.execute("SELECT pgembed.embed_query('doc', 'w1 w2')").fetchone() != before
    refused(doc, "42710", "SELECT pgembed.compensate('doc', 'turned')", message="through an adapter already", hint="drop_adapter('doc'")
    doc.execute("SELECT pgembed.drop_adapter('doc')")
    assert doc.execute("SELECT pgembed.embed_query('doc', 'w1 w2')").fetchone() == before
    refused(
        doc, "42704", "SELECT pgembed.drop_adapter('doc', 'embedding')", message="doc.embedding has no adapter", hint="pgembed.adapters"
    )


def test_what_loses_too_much_is_refused(doc: Connection, refused: Refused) -> None:
    refused(
        doc, "55000", "SELECT pgembed.compensate('doc', 'other')", message="at least 0.9 is wanted", hint="change_model('doc', 'other')"
    )
    assert adapters(doc) == []
    kept = doc.execute("SELECT pgembed.compensate('doc', 'other', min_recall => 0.01)").fetchone()
    lines = report(doc, "'doc', 'other'")
    assert kept == (pytest.approx(max(line[0] for name, line in lines.items() if name != "none")),)


def test_models_of_other_dimensions(known: Connection) -> None:
    known.execute("CREATE TABLE doc (id int PRIMARY KEY, body text)")
    known.execute("INSERT INTO doc SELECT n, b FROM unnest(%s::text[]) WITH ORDINALITY AS t (b, n)", [bodies()])
    known.execute("SELECT pgembed.add_embedding('doc', 'body', model => 'short', sync => 'manual')")
    known.execute("CALL pgembed.refresh('doc', build_index => false)")
    before = found(known, "w3 w7 w11")
    lines = report(known, "'doc', 'one'")
    assert "none" not in lines
    assert lines["mean"][0] > 0.9  # the first half of the longer vector is the shorter one
    known.execute("SELECT pgembed.compensate('doc', 'one')")
    after = found(known, "w3 w7 w11")
    assert len({row[0] for row in after} & {row[0] for row in before}) >= 7
    assert known.execute("SELECT query_dim, dim, vector_dims(pgembed.embed_query('doc', 'w1')) FROM pgembed.adapters").fetchone() == (
        16,
        8,
        8,
    )


def test_queries_of_a_users_own(doc: Connection, refused: Refused) -> None:
    chance = random.Random(2)
    doc.execute("CREATE TABLE log (asked text)")
    doc.execute("INSERT INTO log SELECT unnest(%s::text[])", [[" ".join(chance.choices(VOCABULARY, k=4)) for _ in range(40)]])
    given = "queries => 'log', queries_column => 'asked'"
    row = doc.execute(
        f"SELECT pairs, queries, own_row FROM pgembed.compensation_report('doc', 'turned', {given}) WHERE method = 'ridge'"
    ).fetchone()
    assert row == (ROWS + 20, 20, None)
    # a column without a source has texts of nobody else
    doc.execute("CREATE TABLE bare AS SELECT id, embedding AS e FROM doc; ALTER TABLE bare ADD PRIMARY KEY (id)")
    doc.execute("SELECT pgembed.adopt_embedding('bare', 'e', 'one')")
    refused(doc, "0A000", "SELECT pgembed.compensation_report('bare', 'turned')", message="has no source", hint="queries_column")
    assert doc.execute(f"SELECT pgembed.compensate('bare', 'turned', min_recall => 0, {given})").fetchone() is not None
    refused(doc, "22004", "SELECT pgembed.compensation_report('doc', 'turned', queries => 'log')", message="queries and queries_column")


def test_a_column_of_halfvec(doc: Connection) -> None:
    doc.execute(f"CREATE TABLE half AS SELECT id, body, embedding::halfvec({DIM}) AS e FROM doc; ALTER TABLE half ADD PRIMARY KEY (id)")
    doc.execute("SELECT pgembed.adopt_embedding('half', 'e', 'one', source => 'body', sync => 'manual')")
    before = found(doc, "w3 w7 w11", "half")
    assert doc.execute("SELECT pgembed.compensate('half', 'turned')").fetchone() == (pytest.approx(1),)
    assert [row[0] for row in found(doc, "w3 w7 w11", "half")] == [row[0] for row in before]


def test_a_column_over_chunks(doc: Connection) -> None:
    doc.execute("SELECT pgembed.drop_embedding('doc'); UPDATE doc SET body = body || E'.\n\n' || body")
    doc.execute("SELECT pgembed.add_embedding('doc', 'body', model => 'one', sync => 'manual', chunk_tokens => 12)")
    doc.execute("CALL pgembed.refresh('doc', build_index => false)")
    before = found(doc, "w3 w7 w11")
    line = doc.execute("SELECT recall_10_kept, rows, own_row FROM pgembed.compensation_report('doc', 'turned') LIMIT 1").fetchone()
    chunks = doc.execute("SELECT sum(chunks)::int FROM pgembed.embeddings").fetchone()
    assert chunks is not None
    assert chunks[0] > ROWS
    assert line == (pytest.approx(1, abs=0.01), chunks[0], None)
    doc.execute("SELECT pgembed.compensate('doc', 'turned')")
    assert [row[0] for row in found(doc, "w3 w7 w11")] == [row[0] for row in before]


def test_mentions_are_compared_in_the_columns_space(doc: Connection) -> None:
    doc.execute("ALTER TABLE doc ADD name text; UPDATE doc SET name = 'w' || id % 50")
    doc.execute("SELECT pgembed.create_linker('of_doc', 'doc', names => 'name', context => 'embedding')")
    linked = "SELECT mention, (entity).id, score, margin FROM pgembed.link(NULL::doc, 'w3 w7 and w9')"
    before = doc.execute(linked).fetchall()
    assert any(row[2] is not None for row in before)
    doc.execute("SELECT pgembed.compensate('doc', 'turned', method => 'procrustes')")
    after = doc.execute(linked).fetchall()
    assert [row[:2] for row in after] == [row[:2] for row in before]
    assert [row[2:] for row in after] == [pytest.approx(row[2:], abs=1e-4) for row in before]
    doc.execute("SELECT pgembed.drop_adapter('doc')")
    # a map that keeps little tells that it is used
    doc.execute("SELECT pgembed.compensate('doc', 'other', min_recall => 0, method => 'mean')")
    assert [row[2:] for row in doc.execute(linked).fetchall()] != [pytest.approx(row[2:], abs=1e-4) for row in before]


def test_arguments_that_make_no_sense(doc: Connection, refused: Refused) -> None:
    doc.execute("CREATE TABLE bare AS SELECT id, embedding AS e FROM doc; ALTER TABLE bare ADD PRIMARY KEY (id)")
    doc.execute("SELECT pgembed.adopt_embedding('bare', 'e')")
    for call, sqlstate, message, hint in (
        ("compensate('doc', 'one')", "22023", "is of model one already", "Name the model"),
        ("compensate('doc', NULL)", "22004", "model is NULL", "new model"),
        ("compensate('doc', 'nobody')", "42704", 'model "nobody" does not exist', "Models known here"),
        ("compensate('doc', 'turned', method => 'magic')", "22023", "method must be auto, mean, procrustes, relative or ridge", "auto"),
        ("compensate('doc', 'turned', min_recall => 1.5)", "22023", "min_recall must be from 0 to 1", "0.9"),
        ("compensate('doc', 'turned', min_recall => NULL)", "22004", "min_recall is NULL", "0.9"),
        ("compensate('doc', 'turned', sample => 0)", "22023", "sample must be from 1 to 20000 rows, not 0", "2000"),
        ("compensate('doc', 'turned', sample => 20)", "22023", "only 5 texts could be kept back", "larger sample"),
        ("compensation_report('bare', 'turned')", "0A000", "bare.e was adopted without a model", "adopt it again"),
        ("compensation_report(NULL, 'turned')", "22004", "target is NULL", "Name a table"),
        ("drop_adapter('doc', 'body')", "42704", "is not an embedded column", "embedding"),
    ):
        refused(doc, sqlstate, f"SELECT pgembed.{call}", message=message, hint=hint)


def test_only_the_owner_decides_and_all_obey(doc: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    alice = make_role("alice")
    doc.execute(f"GRANT SELECT ON doc TO {alice}; CREATE TABLE pair (query text, key text); GRANT SELECT ON pair TO {alice}")
    doc.execute("SELECT pgembed.compensate('doc', 'turned')")
    here = doc.execute("SELECT pgembed.embed_query('doc', 'w1 w2')").fetchone()
    with as_role(doc, alice):
        calls = ("compensate('doc', 'other')", "compensation_report('doc', 'other')", "fit_adapter('doc', 'pair')", "drop_adapter('doc')")
        for call in calls:
            refused(doc, "42501", f"SELECT pgembed.{call}", message='must be owner of table "doc"', hint="SET ROLE")
        assert len(adapters(doc)) == 1
        assert doc.execute("SELECT pgembed.embed_query('doc', 'w1 w2')").fetchone() == here
        refused(doc, "42501", "DELETE FROM pgembed._adapter", hint=None)


def test_it_ends_with_the_vectors_that_it_was_fitted_for(doc: Connection, refused: Refused) -> None:
    doc.execute("SELECT pgembed.compensate('doc', 'turned')")
    error = refused(doc, "2BP01", "SELECT pgembed.drop_model('turned')", message="cannot drop model", hint="drop_adapter")
    assert error.diag.message_detail == "adapter of column public.doc.embedding"
    doc.execute("SELECT pgembed.alter_embedding('doc', model => 'other')")
    assert adapters(doc) == [("doc", "embedding", "compensation", "procrustes", "turned", False)]
    assert doc.execute("SELECT pgembed.embed_query('doc', 'w1') = pgembed.embed('w1', 'other')").fetchone() == (True,)
    doc.execute("CALL pgembed.refresh('doc', build_index => false)")
    doc.execute("SELECT pgembed.compensate('doc', 'turned', min_recall => 0)")  # takes its place
    doc.execute("SELECT pgembed.drop_embedding('doc')")
    assert doc.execute("SELECT count(*) FROM pgembed._adapter").fetchone() == (0,)


# Labels.

PLEASE = "w0 w0 w1 w1 w2 w2 w0 w1"


@pytest.fixture
def labelled(doc: Connection) -> Connection:
    """Queries of three words of a document, and of words that all queries have and that mean nothing."""
    doc.execute("CREATE TABLE pair (query text, key text, label int)")
    asked = [f"{PLEASE} {' '.join(body.split()[:5])}" for body in bodies()[:150]]
    doc.execute("INSERT INTO pair SELECT q, n, 1 FROM unnest(%s::text[]) WITH ORDINALITY AS t (q, n)", [asked])
    return doc


def test_an_adapter_learns_what_queries_have_in_common(labelled: Connection, notices: Notices) -> None:
    before = labelled.execute("SELECT pgembed.embed_query('doc', 'w1 w2')").fetchone()
    gains = labelled.execute("SELECT * FROM pgembed.fit_adapter('doc', 'pair', rank => 4)").fetchall()
    assert [gain[0] for gain in gains] == ["recall@10", "MRR@10"]
    for _, old, new, queries, installed in gains:
        assert new > old + 0.1
        assert (queries, installed) == (50, True)
    assert "go through the adapter" in notices[-1].message
    assert adapters(labelled) == [("doc", "embedding", "low_rank", "softmax", "one", True)]
    row = labelled.execute("SELECT rank, query_dim, dim, measured->>'recall_10', measured->>'queries' FROM pgembed.adapters").fetchone()
    assert row == (4, DIM, DIM, str(gains[0][2]), "50")
    assert labelled.execute("SELECT pgembed.embed_query('doc', 'w1 w2')").fetchone() != before
    labelled.execute("SELECT pgembed.drop_adapter('doc')")
    assert labelled.execute("SELECT pgembed.embed_query('doc', 'w1 w2')").fetchone() == before


def test_without_a_gain_nothing_is_installed(doc: Connection, notices: Notices) -> None:
    doc.execute("CREATE TABLE pair AS SELECT body AS question, id AS place FROM doc")
    gains = doc.execute("SELECT * FROM pgembed.fit_adapter('doc', 'pair', 'question', 'place')").fetchall()
    assert {(gain[1], gain[2], gain[4]) for gain in gains} == {(1.0, 1.0, False)}
    assert (notices[-1].severity, "not installed" in notices[-1].message) == ("WARNING", True)
    assert adapters(doc) == []


def test_labels_say_what_belongs_together(labelled: Connection, refused: Refused, notices: Notices) -> None:
    labelled.execute("ALTER TABLE pair ADD fits boolean; UPDATE pair SET fits = label > 0, label = -1 WHERE key::int > 20")
    short = "only 20 queries have a row that should be near, expected at least 30"
    refused(labelled, "22023", "SELECT pgembed.fit_adapter('doc', 'pair', label_column => 'label')", message=short, hint="above 0")
    labelled.execute("UPDATE pair SET fits = NULL WHERE key::int <= 20; UPDATE pair SET fits = false WHERE key::int > 140")
    labelled.execute("INSERT INTO pair VALUES ('w3', '9999', 1, true), ('w4', '1', 1, true), ('  ', '2', 1, true), ('w5', NULL, 1, true)")
    gains = labelled.execute("SELECT queries, after > before FROM pgembed.fit_adapter('doc', 'pair', label_column => 'fits')").fetchall()
    assert gains == [(40, True)] * 2  # a third of 121: 120, and w4
    assert any("1 of 132 pairs are left out" in told.message for told in notices)


def test_pairs_that_cannot_be_used(labelled: Connection, refused: Refused) -> None:
    labelled.execute(
        "CREATE DOMAIN mine AS text; CREATE TABLE odd (query int, key mine, label text); CREATE VIEW seen AS SELECT * FROM pair"
    )
    labelled.execute("CREATE TABLE wrong AS SELECT query, 'x' || key AS key FROM pair")
    for call, sqlstate, message, hint in (
        ("'doc', NULL", "22004", "pairs is NULL", "query"),
        ("'doc', 'pair', rank => 0", "22023", "rank must be from 1 to 16, not 0", "8"),
        ("'doc', 'pair', 'nothing'", "42703", 'column "nothing" of table "pair" does not exist', "query_column"),
        ("'doc', 'odd', key_column => 'label'", "42804", 'column "query" of table "odd" is not text', "Cast"),
        ("'doc', 'odd', 'label'", "42804", 'column "key" of table "odd" is not a key', "Cast"),
        ("'doc', 'pair', label_column => 'query'", "42804", "is not boolean or a number", "Cast"),
        ("'doc', 'seen'", "42809", '"seen" is not a table', "materialized"),
        ("'doc', 'wrong'", "22P02", "a key is none of doc", "JSON array"),
    ):
        refused(labelled, sqlstate, f"SELECT pgembed.fit_adapter({call})", message=message, hint=hint)


# Provenance.


def test_every_vector_is_told_to_its_model(doc: Connection, refused: Refused) -> None:
    doc.execute("INSERT INTO doc VALUES (1001, 'w1'), (1002, NULL); UPDATE doc SET body = 'w9' WHERE id = 2")
    mark = doc.execute("SELECT fingerprint, revision FROM pgembed.models WHERE name = 'one'").fetchone()
    assert mark is not None
    told = "SELECT key, state, by_hand, model, fingerprint, revision FROM pgembed.provenance('doc') WHERE key IN ('1', '2', '1001', '1002')"
    rows = {row[0]: row[1:] for row in doc.execute(told).fetchall()}
    assert rows["1"] == ("fresh", False, "one", *mark)
    assert rows["2"] == ("stale", False, "one", *mark)
    assert rows["1001"][1:] == (False, None, None, None)
    assert rows["1002"][1:] == (False, None, None, None)
    doc.execute("CREATE TABLE bare AS SELECT id, embedding AS e, embedding AS f FROM doc")
    doc.execute("SELECT pgembed.adopt_embedding('bare', 'e', 'turned'), pgembed.adopt_embedding('bare', 'f')")
    refused(doc, "42702", "SELECT pgembed.provenance('bare')", message="2 embedded columns", hint="column_name")
    made = "SELECT DISTINCT key, by_hand, model FROM pgembed.provenance('bare', '{}')"
    assert set(doc.execute(made.format("e")).fetchall()) == {(None, None, "turned"), (None, None, None)}
    assert doc.execute(made.format("f")).fetchall() == [(None, None, None)]


def test_a_vector_by_hand_is_of_no_model(doc: Connection) -> None:
    doc.execute("UPDATE doc SET embedding = pgembed.embed('w1', 'other') WHERE id = 3")
    row = doc.execute("SELECT by_hand, model, fingerprint, revision FROM pgembed.provenance('doc') WHERE key = '3'").fetchone()
    assert row == (True, None, None, None)


def test_provenance_is_as_the_caller(doc: Connection, make_role: MakeRole, as_role: AsRole, refused: Refused) -> None:
    alice = make_role("alice")
    with as_role(doc, alice):
        refused(doc, "42501", "SELECT pgembed.provenance('doc')", message="permission denied", hint=None)
    doc.execute(f"GRANT SELECT ON doc TO {alice}; ALTER TABLE doc ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON doc USING (id < 4)")
    with as_role(doc, alice):
        assert doc.execute("SELECT count(*) FROM pgembed.provenance('doc')").fetchone() == (3,)


# Two spaces.


@pytest.fixture
def two(doc: Connection) -> Connection:
    """A table with columns of one dimension and of other spaces: of `turned`, of two revisions of `rev`, of no model, and of codes."""
    doc.execute("SELECT pgembed.register_model('rev', 'one', query_prompt => 'w1 ')")
    doc.execute(
        "CREATE TABLE two AS SELECT id, body, embedding AS a, embedding AS t, embedding AS r, embedding AS s, embedding AS n FROM doc"
    )
    doc.execute("ALTER TABLE two ADD PRIMARY KEY (id)")
    for column, model in (("a", "one"), ("t", "turned"), ("r", "rev"), ("n", None)):
        doc.execute("SELECT pgembed.adopt_embedding('two', %s, %s)", [column, model])
    doc.execute("SELECT pgembed.register_model('rev', 'one', query_prompt => 'w2 '); SELECT pgembed.adopt_embedding('two', 's', 'rev')")
    doc.execute("SELECT pgembed.train_codec('bits', 'two', 'sign', column_name => 'a', measure => false)")
    doc.execute("SELECT pgembed.add_code('two', 'bits', embedding_column => 'a', column_name => 'c')")
    return doc


@pytest.mark.parametrize("other", ["t", "r", "s", "n"])
def test_rows_of_two_spaces_are_never_compared(two: Connection, refused: Refused, other: str) -> None:
    assert two.execute("SELECT pgembed.distance('two', '1', 'two', '1', 'a', 'a')").fetchone() == (pytest.approx(0, abs=1e-6),)
    message = f"two.a is of model one (16 dimensions), two.{other} of model"
    call = f"SELECT pgembed.distance('two', '1', 'two', '1', 'a', '{other}')"
    refused(two, "22000", call, message=message, hint="columns of one model")
    join = f"SELECT pgembed.semantic_join(NULL::two, NULL::two, left_column => 'a', right_column => '{other}')"
    refused(two, "22000", join, message=message, hint="columns of one model")


def test_two_revisions_of_a_name_are_two_spaces(two: Connection, refused: Refused) -> None:
    marks = two.execute("SELECT left(fingerprint, 12) FROM pgembed._model WHERE name = 'rev' ORDER BY revision").fetchall()
    message = f"two.r is of model rev ({marks[0][0]}) (16 dimensions), two.s of model rev ({marks[1][0]})"
    refused(two, "22000", "SELECT pgembed.distance('two', '1', 'two', '1', 'r', 's')", message=message)
    join = "SELECT pgembed.semantic_join(NULL::two, NULL::doc, left_column => 's', right_column => 'embedding')"
    refused(two, "22000", join, message="of model rev (16 dimensions), doc.embedding of model one")
    # and each is asked in its own way
    asked = "SELECT pgembed.embed_query('two', 'w7', %s) = pgembed.embed(%s, 'one')"
    for column, text in (("r", "w1 w7"), ("s", "w2 w7"), ("a", "w7")):
        assert two.execute(asked, [column, text]).fetchone() == (True,), column


def test_codes_and_vectors_of_two_spaces_are_never_compared(two: Connection, refused: Refused) -> None:
    refused(
        two,
        "22000",
        "SELECT pgembed.distance('two', '1', 'two', '2', 'c', 't')",
        message='codec "bits" is for vectors of',
        hint="train_codec",
    )
    for side in ("left_column => 'c', right_column => 'a'", "left_column => 'a', right_column => 'c'"):
        join = f"SELECT pgembed.semantic_join(NULL::two, NULL::two, {side})"
        refused(two, "42809", join, message='column "c" of table "two" holds codes', hint="embedded column")


def test_what_has_no_model_is_asked_by_vectors_only(two: Connection, refused: Refused) -> None:
    refused(two, "0A000", "SELECT pgembed.search(NULL::two, 'w1', column_name => 'n')", message="adopted without a model", hint="vector")
    join = "SELECT pgembed.semantic_join(NULL::two, NULL::two, left_column => 'body', right_column => 'n')"
    refused(two, "0A000", join, message="adopted without a model", hint="Adopt it again")
    refused(two, "22000", "SELECT pgembed.search(NULL::two, '[1,2]'::vector, column_name => 'n')", message="query has 2 dimensions")
