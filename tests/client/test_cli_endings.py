"""The command pgembed as a process: how it ends, what a terminal shows, that it is quick and TAB completes it, and its README."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMANDS, Run, start
from psycopg import conninfo
from support import Connection, wait_until

from pgembed.cli import program

ROOT = Path(__file__).resolve().parents[2]

# ------------------------------------------------------------------------------------------------------------------------------ endings


def test_ctrl_c_cancels_the_statement_and_is_130(url: str, db: Connection) -> None:
    db.execute("SELECT pgembed.drop_embedding('thing'); SELECT pgembed.add_embedding('thing', 'name', sync => 'manual')")
    db.execute("CALL pgembed.refresh('thing')")
    process = start("search", url, "thing", "x", "--filter", "pg_sleep(60) IS NOT NULL", stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    asking = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"

    def active(expected: int) -> bool:
        return db.execute(asking).fetchone() == (expected,)

    wait_until(lambda: active(1))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err
    wait_until(lambda: active(0))


def test_a_closed_pipe_is_silent() -> None:
    reading, writing = os.pipe()
    process = start("completion", "bash", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    os.close(reading)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (141, "")


def test_what_cannot_be_printed_is_told(url: str) -> None:
    for words in (("embedding", "list", url), ("embedding", "list", url, "--json"), ("--help",)):
        with Path("/dev/full").open("w") as full:
            process = start(*words, stdout=full, stderr=subprocess.PIPE)
            _, err = process.communicate(timeout=30)
        assert (process.returncode, err) == (1, "pgembed: No space left on device\n")
        command = [sys.executable, "-P", "-m", "pgembed.cli", *words]
        ran = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", *command], capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")


def test_a_locale_without_letters_beyond_ascii(url: str, db: Connection) -> None:
    db.execute("CREATE TABLE zelt (id int PRIMARY KEY, name text); INSERT INTO zelt VALUES (1, 'für zwei ⛺')")
    db.execute("SELECT pgembed.add_embedding('zelt', 'name', sync => 'manual')")
    db.execute("CALL pgembed.refresh('zelt')")
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": ""}
    distances = set()
    for changes in (plain, plain | {"PYTHONIOENCODING": "latin-1"}, dict(os.environ) | {"PYTHONUTF8": "1"}):
        process = start("search", url, "zelt", "für zwei", "--json", env=changes, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        (row,) = json.loads(out)
        assert row["name"] == "für zwei ⛺"
        distances.add(row["distance"])
        process = start("search", url, "zelt", "für zwei", env=changes, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="latin-1")
        out, err = process.communicate(timeout=30)
        assert (process.returncode, "r zwei " in out) == (0, True), err
    assert len(distances) == 1


def test_a_bar_is_drawn_on_a_terminal_and_nowhere_else(url: str, db: Connection) -> None:
    db.execute(
        "CREATE TABLE many (id int PRIMARY KEY, name text); INSERT INTO many SELECT n, md5(n::text) FROM generate_series(1, 300) AS n"
    )
    db.execute("SELECT pgembed.add_embedding('many', 'name', sync => 'manual')")
    words = ["embedding", "refresh", url, "many", "--batch-size", "50"]
    ours, theirs = pty.openpty()
    process = start(*words, stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        shown += part
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert (process.returncode, out) == (0, "public.many: refreshed\n"), shown
    assert re.search(rb"refresh many\.embedding: +\d", shown), shown
    assert b"rows embedded" in shown
    process = start(*words, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    _, err = process.communicate(timeout=60)
    assert re.fullmatch(r"pgembed: many\.embedding: 0 rows embedded in \d\.\d s\n", err)


# ---------------------------------------------------------------------------------------------------------------------------- the shell


def test_help_imports_little() -> None:
    """What makes it slow is what it imports, and that is counted."""
    script = f"""
import sys
sys.path[:0] = {sys.path!r}
from pgembed import cli
try:
    cli.main(["--help"])
except SystemExit:
    print("\\n".join(sys.modules), file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True)
    modules = set(ran.stderr.split())
    heavy = {"numpy", "psycopg", "sqlalchemy", "tqdm", "shtab", "subprocess", "asyncio", "importlib.metadata"}
    assert heavy & modules == set()
    ours = {name for name in modules if name.startswith("pgembed")}
    assert {name for name in ours if not name.startswith("pgembed.cli")} == {"pgembed", "pgembed.errors"}
    assert len(modules) < 160


@pytest.fixture(scope="module")
def bash_script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("shtab")
    made = tmp_path_factory.mktemp("completion") / "pgembed"
    with made.open("w") as script:
        subprocess.run([sys.executable, "-P", "-m", "pgembed.cli", "completion", "bash"], stdout=script, check=True)
    return made


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("pgembed st", ["status"]),
        ("pgembed codec re", ["recommend", "retrain"]),
        ("pgembed embedding ", ["add", "adopt", "alter", "drop", "list", "refresh"]),
        ("pgembed search --max", ["--max-distance"]),
        ("pgembed completion b", ["bash"]),
        ("pgembed embedding add --sync q", ["queued"]),
    ],
)
def test_a_real_bash_completes_words(bash_script: Path, line: str, expected: list[str]) -> None:
    words = line.split(" ")
    script = f"""
        source {shlex.quote(str(bash_script))}
        COMP_WORDS=({" ".join(map(shlex.quote, words))}); COMP_CWORD={len(words) - 1}; COMP_LINE={shlex.quote(line)}; COMP_POINT={len(line)}
        function=$(complete -p pgembed | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        $function pgembed {shlex.quote(words[-1])} {shlex.quote(words[-2])}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    ran = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    found = sorted({word.strip() for word in ran.stdout.split()} - {"-h", "--help"})
    assert [word for word in found if word.startswith(words[-1]) and not word.startswith("-")] == expected or found == expected


def test_the_other_shells_get_a_script_too(run: Run) -> None:
    pytest.importorskip("shtab")
    assert run("completion", "zsh").out.startswith("#compdef pgembed")
    assert "complete -c pgembed" in run("completion", "fish").out
    assert "\\set embeddings" in run("completion", "psqlrc").out


# ---------------------------------------------------------------------------------------------------------------------------- the README

README = (ROOT / "pgembed/cli/README.md").read_text("utf-8")


def test_the_readme_lists_every_command_and_status() -> None:
    listed = set(re.findall(r"^\| `pgembed ([a-z -]+?)` \|", README, re.MULTILINE))
    assert listed == {" ".join(words) for words in COMMANDS}
    statuses = set(re.findall(r"^\| (\d+) \|", README, re.MULTILINE))
    assert statuses == set(re.findall(r"^  (\d+) ", program.EXIT_CODES, re.MULTILINE))


def test_the_readmes_commands_run(run: Run, url: str, db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there, in the test's database."""
    db.execute("CREATE TABLE product (id int PRIMARY KEY, name text, price numeric)")
    db.execute("INSERT INTO product VALUES (1, 'tent', 99), (2, 'jacket', 79)")
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) >= 8
    for name, variable in (("host", "PGHOST"), ("port", "PGPORT"), ("user", "PGUSER"), ("dbname", "PGDATABASE")):
        monkeypatch.setenv(variable, str(conninfo.conninfo_to_dict(url)[name]))
    printed = ""
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "pgembed"
        said = run(*words[1:])
        assert said.status == 0, (line, said.err)
        printed += said.out
    assert "tent" in printed
