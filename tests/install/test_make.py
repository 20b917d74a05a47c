"""The two commands of the README and their kin, run as a newcomer would, from the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a README may tell a reader to type and who runs it: a test here, or .ci/run.
RUN_HERE = ("make demo", "make bench", "make psql", "make -s url", "make help")


def make(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name not in ("MFLAGS", "PGEMBED_URL")}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=clean, input=stdin, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    if shutil.which("make") is None or not os.environ.get("PGEMBED_HOME"):
        pytest.skip("run by `make test`, which says where this checkout's server lives")
    yield ROOT
    make("stop")


def test_the_demo_runs_to_its_end(checkout: Path) -> None:
    ran = make("demo")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "shared_buffers" in ran.stdout
    assert "1.00" in ran.stdout  # recall of pgembed, side by side with plain pgvector


def test_the_benchmarks_run(checkout: Path) -> None:
    ran = make("bench", "ARGS=--quick")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "needs Debian's package catalogue" in ran.stdout or (Path(os.environ["PGEMBED_HOME"]) / "bench.png").is_file()


def test_the_url_is_all_that_is_printed_and_leads_to_the_extension(checkout: Path) -> None:
    ran = make("-s", "url")
    assert re.fullmatch(r"postgresql://\S+\n", ran.stdout), ran.stdout + ran.stderr
    asked = subprocess.run(
        ["psql", "-XAt", ran.stdout.strip(), "-c", "SELECT pgembed.version()"], capture_output=True, text=True, check=False
    )
    assert asked.stdout.strip() == __import__("pgembed").__version__


def test_the_shell_reaches_the_private_server(checkout: Path) -> None:
    ran = make("psql", stdin="SELECT 'it' || ' works';\n")
    assert "it works" in ran.stdout, ran.stderr


def test_help_names_every_target_of_the_readme(checkout: Path) -> None:
    told = make("help").stdout
    for target in ("demo", "test", "bench", "psql", "url"):
        assert re.search(rf"^{target}\b", told, re.MULTILINE), told


def test_every_make_command_of_the_readme_is_run_by_somebody(checkout: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    ci = (ROOT / ".ci" / "run").read_text("utf-8")
    for command in set(re.findall(r"make (?:-s )?[a-z]+", " ".join(re.findall(r"^make .*$|`make [^`]*`", readme, re.MULTILINE)))):
        assert command in RUN_HERE or command in ci, command
