"""pgembed model ...: what the command line says and does, with its own directory of installed models."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import small_models
from fake_endpoint import FakeEndpoint
from psycopg import conninfo
from support import Connection

from pgembed import cli, errors, models
from pgembed.cli import connecting
from pgembed.cli import model as modelcli
from pgembed.models import hub, store


class Said(NamedTuple):
    """How a command ended: status, and what it printed."""

    status: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty directory of installed models, and no private server."""
    place = tmp_path / "models"
    place.mkdir()
    monkeypatch.setattr(store, "models_dir", lambda: place)
    monkeypatch.setattr(models, "models_dir", lambda: place)
    monkeypatch.setattr(connecting, "private_url", lambda: None)
    models.forget()
    yield place
    models.forget()


@pytest.fixture
def run(room: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `pgembed model` with arguments."""

    def command(*arguments: object) -> Said:
        status = cli.main(["model", *map(str, arguments)])
        return Said(status, *capsys.readouterr())

    return command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small BERT as a sentence-transformers folder."""
    place = tmp_path / "folder"
    place.mkdir()
    return small_models.write_folder(place)


@pytest.fixture
def url(db: Connection, server_url: str) -> str:
    """URL of the test's database."""
    return conninfo.make_conninfo(server_url, dbname=db.info.dbname)


def test_nothing_is_listed_where_nothing_is_installed(run: Run) -> None:
    said = run("list")
    assert said.status == 0
    assert said.out.split() == ["NAME", "KIND", "DIM", "WEIGHTS", "REVISION", "FINGERPRINT", "SOURCE"]


def test_a_folder_is_added_listed_shown_and_removed(run: Run, folder: Path, room: Path) -> None:
    said = run("add", "tiny", folder)
    assert said.status == 0, said.err
    info = models.info("tiny")
    assert said.out == f"tiny: transformer, {small_models.DIM} dimensions, fp32, revision 1, fingerprint {info.fingerprint}\n"
    lines = run("list").out.splitlines()
    assert lines[1].split() == ["tiny", "transformer", "32", "fp32", "1", info.fingerprint[:12], str(folder)]
    shown = dict(line.split(maxsplit=1) for line in run("show", "tiny").out.splitlines())
    assert shown["fingerprint"] == info.fingerprint
    assert shown["query_prompt"] == '""'
    assert "model.onnx (" in shown["files"]
    assert run("remove", "tiny", "--force") == (0, "tiny: removed\n", "")
    assert list(room.iterdir()) == []


def test_options_are_part_of_what_is_installed(run: Run, folder: Path) -> None:
    arguments = ("--dim", 8, "--layers", 2, "--query-prompt", "a ", "--document-prompt", "b ")
    assert run("add", "tiny", folder, *arguments).status == 0
    info = models.info("tiny")
    assert (info.dim, info.layers, info.query_prompt, info.document_prompt) == (8, 2, "a ", "b ")
    plain = run("add", "plain", folder, "--weights", "int8", "--layers", 2)
    assert plain.status == 0, plain.err
    assert models.info("plain").precision == "int8"
    assert models.load("tiny").encode(["c"], role="query").vectors.shape == (1, 8)


def test_a_name_that_is_taken_is_refused_unless_a_revision_is_wanted(run: Run, folder: Path) -> None:
    first = run("add", "tiny", folder)
    refused = run("add", "tiny", folder, "--dim", 8)
    assert refused.status == 1
    assert 'model "tiny" is installed already' in refused.err
    assert "--new-revision" in refused.err
    again = run("add", "tiny", folder, "--new-revision")
    assert again.out == first.out
    assert "is installed already" in again.err
    assert "revision 2" in run("add", "tiny", folder, "--dim", 8, "--new-revision").out
    shown = dict(line.split("  ", maxsplit=1) for line in run("show", "tiny").out.splitlines())
    assert shown["older revisions"].strip() == first.out.split()[-1][:16]


def test_a_distilled_model_does_not_take_its_teachers_name(run: Run, folder: Path) -> None:
    run("add", "tiny", folder)
    refused = run("distill", "tiny", "--from", "tiny", "--dim", 4)
    assert refused.status == 1
    assert 'model "tiny" is installed already' in refused.err
    assert models.info("tiny").kind == "transformer"


def test_weights_of_another_checksum_are_not_installed(run: Run, folder: Path, room: Path) -> None:
    right = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    wrong = "0" * 64
    refused = run("add", "tiny", folder, "--sha256", wrong)
    assert refused.status == 1
    assert f"have SHA-256 {right}, expected {wrong}" in refused.err
    assert list(room.glob("*")) == []
    assert run("add", "tiny", folder, "--sha256", right.upper()).status == 0


def test_a_file_that_was_changed_after_it_was_installed_is_shown(run: Run, folder: Path, room: Path) -> None:
    run("add", "tiny", folder)
    path = room / "tiny" / "current" / "tokenizer.json"
    assert "verified" in run("show", "tiny").out
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    shown = run("show", "tiny")
    assert shown.status == 1
    assert "has SHA-256" in shown.err


def test_a_hubs_model_is_fetched(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    commit = tmp_path / "c0ffee"
    shutil.copytree(folder, commit)
    asked = []

    def fetch(name: str) -> Path:
        asked.append(name)
        return commit

    monkeypatch.setattr("pgembed.models.adding.fetch_hub", fetch)
    assert hub.fetch_hub is not fetch
    assert run("add", "tiny", "owner/tiny-model").status == 0
    assert asked == ["owner/tiny-model"]
    assert (models.info("tiny").source, models.info("tiny").source_revision) == ("hub:owner/tiny-model", "c0ffee")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("add", "tiny", "nowhere"), '"nowhere" is no folder, no installed model and no name on a hub'),
        (("add", "tiny", "./nowhere"), "is no folder"),
        (("add", "../tiny", "."), "invalid model name"),
        (("add", "tiny", ".", "--api-key", "env:X"), "--api-key is of a remote model"),
        (("add", "tiny", "https://localhost/v1"), "a URL needs --remote-model"),
        (("add", "tiny", "https://localhost/v1", "--remote-model", "m", "--api-key", "sk-1234"), "api_key must be env:NAME"),
        (("add", "tiny", "https://localhost/v1", "--remote-model", "m", "--options", "{"), "--options is no JSON"),
        (("add", "tiny", "https://localhost/v1", "--remote-model", "m"), "there is no private server here"),
        (("show", "nobody"), 'model "nobody" does not exist'),
        (("remove", "nobody"), 'model "nobody" is not installed'),
        (("bench", "nobody"), 'model "nobody" does not exist'),
        (("distill", "tiny", "--from", "nobody"), 'model "nobody" is not installed'),
    ],
)
def test_what_cannot_be_done_is_said(run: Run, arguments: tuple[str, ...], message: str) -> None:
    said = run(*arguments)
    assert said.status == 1
    assert said.out == ""
    assert message in said.err
    assert "\nhint: " in said.err


def test_a_folder_without_its_parts_installs_nothing(run: Run, folder: Path, room: Path) -> None:
    (folder / "tokenizer.json").unlink()
    said = run("add", "tiny", folder)
    assert (said.status, said.out) == (1, "")
    assert "tokenizer.json" in said.err
    assert list(room.iterdir()) == []


def test_a_damaged_model_is_listed_beside_the_others(run: Run, folder: Path) -> None:
    run("add", "broken", folder)
    run("add", "whole", folder)
    (store.place_of("broken") / "tokenizer.json").unlink()
    said = run("list")
    assert [line.split()[0] for line in said.out.splitlines()] == ["NAME", "broken", "whole"]
    assert "broken: file" in said.err
    assert said.status == 1
    assert run("remove", "broken", "--force").status == 0


def test_nothing_is_removed_while_nobody_can_be_asked(run: Run, folder: Path) -> None:
    run("add", "tiny", folder)
    said = run("remove", "tiny")
    assert said.status == 1
    assert "--force" in said.err
    assert run("remove", "tiny", "--database", "postgresql://localhost:1/none").status == 1
    assert models.info("tiny").name == "tiny"


def test_a_model_that_any_database_needs_is_not_removed(run: Run, folder: Path, db: Connection, url: str, server_url: str) -> None:
    run("add", "tiny", folder)
    db.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
    db.execute("SELECT pgembed.add_embedding('t', 'body')")
    db.execute("UPDATE pgembed._embedding SET model = 'tiny'")
    db.execute("INSERT INTO pgembed._setting VALUES ('default_model', 'tiny')")
    db.execute("SELECT pgembed.register_model('other', 'all-minilm-l6-v2', dim => 8)")
    db.execute("UPDATE pgembed._model SET source = 'tiny'")
    for asked in (url, server_url):  # all databases of the server are looked at, whichever is named
        said = run("remove", "tiny", "--database", asked)
        assert said.status == 1
        assert 'model "tiny" is needed 3 times' in said.err
        for line in ("column public.t.embedding", "model other, which is made of it", "the default model"):
            assert f"database {db.info.dbname}: {line}" in said.err
    assert models.info("tiny").name == "tiny"
    db.execute("DELETE FROM pgembed._setting; DELETE FROM pgembed._model; SELECT pgembed.drop_embedding('t')")
    assert run("remove", "tiny", "--database", url) == (0, "tiny: removed\n", "")


def test_a_column_of_a_registered_model_of_the_same_name_does_not_matter(run: Run, folder: Path, db: Connection, url: str) -> None:
    db.execute("SELECT pgembed.register_model('tiny', 'all-minilm-l6-v2', dim => 8)")
    db.execute("CREATE TABLE t (id int PRIMARY KEY, body text)")
    db.execute("SELECT pgembed.add_embedding('t', 'body', 'tiny')")
    run("add", "tiny", folder)
    assert run("remove", "tiny", "--database", url).status == 0


def test_an_endpoint_is_registered_in_a_database(run: Run, db: Connection, url: str) -> None:
    with FakeEndpoint() as fake:
        said = run("add", "far", fake.url, "--remote-model", "m", "--options", '{"timeout": 5}', "--database", url)
        assert said.status == 0, said.err
        row = db.execute("SELECT fingerprint, source FROM pgembed.models WHERE name = 'far'").fetchone()
        assert row is not None
        assert said.out == f"far: registered, fingerprint {row[0]}\n"
        assert row[1] == fake.url


def test_a_known_model_is_registered_with_options(run: Run, db: Connection, url: str) -> None:
    said = run("add", "small", "all-minilm-l6-v2", "--dim", 8, "--query-prompt", "q: ", "--database", url)
    assert said.status == 0, said.err
    row = db.execute("SELECT dim, query_prompt FROM pgembed.models WHERE name = 'small'").fetchone()
    assert row == (8, "q: ")
    assert "registered already" in run("add", "small", "all-minilm-l6-v2", "--dim", 8, "--query-prompt", "q: ", "--database", url).err
    said = run("add", "small", "all-minilm-l6-v2", "--dim", 0, "--database", url)
    assert said.status == 1
    assert "pgembed: dim must be from 1 to 384" in said.err
    lines = [line.split() for line in run("list", "--database", url).out.splitlines()]
    assert lines[0] == ["NAME", "KIND", "DIM", "WEIGHTS", "REVISION", "COLUMNS", "SOURCE"]
    assert ["small", "transformer", "8", "fp32", "1", "0", "all-minilm-l6-v2"] in lines
    assert '"q: "' in run("show", "small", "--database", url).out


def test_a_database_without_the_extension_is_told(run: Run, empty_db: Connection, server_url: str) -> None:
    said = run("list", "--database", conninfo.make_conninfo(server_url, dbname=empty_db.info.dbname))
    assert said.status == 1
    assert "has no pgembed" in said.err


def test_bench_compares_with_the_bare_library(run: Run, folder: Path) -> None:
    run("add", "tiny", folder)
    said = run("bench", "tiny", "--texts", 5)
    assert said.status == 0, said.err
    lines = {
        line.rsplit(maxsplit=3)[0].strip(): line.split()[-3:] for line in said.out.splitlines()[1:] if line.startswith(("one", "texts"))
    }
    for what in ("one text, ms", "texts in a second"):
        own, direct, ratio = map(float, lines[what])
        faster = direct / own if "ms" in what else own / direct
        assert ratio == pytest.approx(faster, rel=0.05, abs=0.02)


def test_a_static_model_is_made_of_a_transformer(run: Run, folder: Path) -> None:
    run("add", "tiny", folder)
    said = run("distill", "fast", "--from", "tiny", "--dim", 4)
    assert said.status == 0, said.err
    info = models.info("fast")
    assert (info.kind, info.dim) == ("static", 4)
    assert said.out.startswith(f"fast: static, 4 dimensions, fingerprint {info.fingerprint}, made in ")
    said = run("distill", "faster", "--from", "fast")
    assert said.status == 1
    assert "of kind static, expected transformer" in said.err


def test_with_a_corpus_it_is_told_what_helped(run: Run, folder: Path, db: Connection, url: str) -> None:
    run("add", "tiny", folder)
    db.execute("CREATE TABLE docs (body text)")
    db.execute(
        "INSERT INTO docs SELECT string_agg(chr(97 + (n * 7 + m * m * (n % 5)) % 8), ' ')"
        " FROM generate_series(1, 300) AS n, generate_series(1, 6) AS m GROUP BY n"
    )
    said = run("distill", "fast", "--from", "tiny", "--dim", 8, "--corpus", "public.docs.body", "--database", url)
    assert said.status == 0, said.err
    assert "read 300 texts of public.docs.body" in said.err
    lines = said.out.splitlines()
    assert "held out" in lines[0]
    chosen = [line for line in lines if line.endswith("installed")]
    measured = [float(line.split()[-3 if line in chosen else -2]) for line in lines[2:-1]]
    assert len(chosen) == 1
    assert float(chosen[0].split()[-3]) == max(measured)
    assert models.info("fast").kind == "static"


def test_a_corpus_is_read_from_a_database(run: Run, db: Connection, url: str) -> None:
    from pgembed import modeldb

    db.execute(
        """CREATE SCHEMA "My"; CREATE TABLE "My"."T" (id int, "Body" text); INSERT INTO "My"."T" VALUES (1, 'a'), (2, NULL), (3, 'b')"""
    )
    assert modeldb.texts(url, '"My"."T"."Body"', 10) == ["a", "b"]
    for where, kind in (
        ("t", errors.InvalidParameter),
        ("a.b.c.d", errors.InvalidParameter),
        ("a.'", errors.InvalidParameter),
        ("nothing.x", errors.UnknownTable),
        ('"My"."T".id', errors.DatatypeMismatch),
        ('"My"."T".nothing', errors.UnknownColumn),
    ):
        with pytest.raises(kind) as caught:
            modeldb.texts(url, where, 10)
        assert caught.value.hint


def test_a_list_needs_no_database(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add", "tiny", folder)
    monkeypatch.setattr(modelcli, "_database_room", lambda: pytest.fail("it asked"))
    assert run("list").status == 0
    assert run("show", "tiny").status == 0
