"""onnxruntime as it is opened here: it says nothing to anybody, and what it can't read is one of our errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pgembed import errors, models
from pgembed.models import memory, runtime

pytest.importorskip("onnxruntime")

SCRIPT = """
from pgembed import models
model = models.load({name!r})
model.encode(["a text"])
print([line.split()[-1] for line in open("/proc/self/maps") if ".db" in line])
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc to see the files that are mapped")
def test_onnxruntime_keeps_no_file_of_events_to_report(tmp_path: Path) -> None:
    """It keeps them below the home directory's .cache until it has sent them, unless it is told not to."""
    installed = models.installed()
    if not installed:
        pytest.skip("no model is installed; python -m pgembed.models.conversion.convert does it")
    environment = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "CI")}
    environment |= {"HOME": str(tmp_path), "PYTHONPATH": str(Path(models.__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("XDG_CACHE_HOME", None)
    script = SCRIPT.format(name=installed[0].name)
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_a_file_that_is_no_graph_is_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(errors.FileDamaged, match="not a graph that onnxruntime can run"):
        runtime.open_session(path)


def test_memory_can_be_given_back_anywhere() -> None:
    memory.trim_memory()
