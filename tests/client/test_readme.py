"""What the READMEs tell a reader to type is typed here. Shell commands are run by tests/install/test_make.py and .ci/run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fake_endpoint import FakeEndpoint

ROOT = Path(__file__).resolve().parents[2]
READMES = sorted(path for path in ROOT.rglob("README.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts))
URL_SCHEME = "postgresql+psycopg://"


def blocks(readme: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", readme.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def with_blocks(language: str) -> list[Any]:
    return [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in READMES if blocks(path, language)]


def libpq(db: psycopg.Connection[Any]) -> str:
    info = db.info
    return f"host={info.host} port={info.port} user={info.user} dbname={info.dbname}"


@pytest.mark.parametrize("readme", with_blocks("sql"))
def test_every_sql_statement_runs(db: psycopg.Connection[Any], readme: Path) -> None:
    script = "\n".join(blocks(readme, "sql"))
    ran = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", libpq(db)], input=script, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_example_of_an_endpoint_runs(db: psycopg.Connection[Any], open_folder: Path) -> None:
    """With an endpoint and a key of this test's in place of the ones that the README names."""
    (script,) = blocks(ROOT / "README.md", "sql remote")
    key = open_folder / "key"
    key.write_text("a-key-of-the-test\n")
    key.chmod(0o644)
    with FakeEndpoint() as fake:
        ours = script.replace("https://api.openai.com/v1", fake.url).replace("/etc/pgembed/openai.key", str(key))
        assert ours.count(fake.url) == ours.count(str(key)) == 1
        ran = subprocess.run(["psql", "-X", "-v", "ON_ERROR_STOP=1", libpq(db)], input=ours, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert db.execute("SELECT vector_dims(pgembed.embed('rain', 'ada'))").fetchone() == (512,)
        assert {request.headers.get("authorization") for request in fake.requests} == {"Bearer a-key-of-the-test"}


@pytest.mark.parametrize("readme", with_blocks("python"))
def test_every_python_example_runs(db: psycopg.Connection[Any], readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = db.info
    url = f"{URL_SCHEME}{info.user}@/{info.dbname}?host={info.host}&port={info.port}"
    names = {"url": url, "__name__": "readme"}  # a later example may go on with what an earlier one has made
    for block in blocks(readme, "python"):
        exec(compile(block, str(readme), "exec", dont_inherit=True), names)
    assert capsys.readouterr().out


def test_search_comes_to_a_model_with_six_changed_lines(db: psycopg.Connection[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The README's example as a difference: both sides run, one after the other, on tables of their own."""
    (difference,) = blocks(ROOT / "README.md", "diff")
    lines = difference.splitlines()
    # a line that is replaced counts once
    assert max(sum(line.startswith(sign) for line in lines) for sign in "+-") <= 6
    info = db.info
    url = f"{URL_SCHEME}{info.user}@/{info.dbname}?host={info.host}&port={info.port}"
    said = []
    for other in "+-":
        block = "\n".join(line[1:] for line in lines if not line.startswith(other))
        exec(compile(block, "README.md", "exec", dont_inherit=True), {"url": url, "__name__": "readme"})
        said.append(capsys.readouterr().out)
        db.execute("DROP TABLE book")
    before, after = said
    assert before.splitlines() == ["The Old Man and the Sea"]
    assert after.startswith("The Old Man and the Sea 0.")


def test_the_readme_shows_what_the_demo_prints_today() -> None:
    """The picture in the README is the demo's own statements with real output, not an old one's."""
    from pgembed import demo

    shown = (ROOT / "README.md").read_text("utf-8")
    for statement in demo.STATEMENTS:
        assert statement.strip() in shown
