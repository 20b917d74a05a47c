"""runtime: the one place that imports onnxruntime and opens its sessions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pgembed import errors
from pgembed.models import threads

# onnxruntime 1.29 and newer report sessions to their maker over the network, from a thread of their own, unless this is set before
# they are imported (https://github.com/microsoft/onnxruntime/pull/27379). A database server does not speak to strangers.
_SILENT = "ORT_DISABLE_TELEMETRY"


def open_session(graph: Path, thread_count: int | None = None) -> Any:
    """An ``onnxruntime.InferenceSession`` of a graph's file, on the CPU.

    Args:
        thread_count: threads within one run; None for as many as a model may use.
    Raises:
        FileDamaged: onnxruntime can't read the file, or not run the graph.
    """
    with threads.signals_blocked():
        onnxruntime = imported()
        return _session(onnxruntime, graph, _options(onnxruntime, thread_count))


def imported() -> Any:
    """The module onnxruntime. It starts threads when it is imported: call this inside of ``threads.signals_blocked``."""
    os.environ[_SILENT] = "1"
    import numpy  # noqa: F401  (its BLAS starts threads when it is imported)
    import onnxruntime

    return onnxruntime


def need_converter() -> None:
    """Import what a conversion needs beyond what a server does, its threads with signals blocked.

    Raises:
        NotReady: a package is not installed.
    """
    with threads.signals_blocked():
        try:
            import numpy  # noqa: F401  (to see that it is there)
            import onnx  # noqa: F401  (to see that it is there)
            import safetensors  # noqa: F401  (to see that it is there)
            import tokenizers  # noqa: F401  (to see that it is there)
        except ImportError as error:
            raise errors.NotReady(
                f"package {error.name} is not installed, which a model's conversion needs",
                hint="pip install 'pgembed-extension[server,convert]' into pgembed's environment.",
            ) from None


def write_packed(graph: Path, target: Path) -> None:
    """Write a graph and its weights again, every matrix also in the order in which this CPU's kernels read it; see ``packing``.

    Args:
        target: of the new graph; its weights are written beside it as ``<name>.data``.
    Raises:
        FileDamaged: as ``open_session``.
    """
    with threads.signals_blocked():
        onnxruntime = imported()
        options = _options(onnxruntime)
        # The graph as it is: what onnxruntime would make of it is decided again when it is opened.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.optimized_model_filepath = str(target)
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", f"{target.name}.data")
        options.add_session_config_entry("session.optimized_model_external_initializers_min_size_in_bytes", "512")
        options.add_session_config_entry("session.save_external_prepacked_constant_initializers", "1")
        _session(onnxruntime, graph, options)


def _options(onnxruntime: Any, thread_count: int | None = None) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count or threads.thread_count()
    options.inter_op_num_threads = 1
    # Spinning threads take the cores of the other backends: 16 connections embedded 530 short texts a second, and 296 with spinning.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # whatever is wrong is raised
    return options


def _session(onnxruntime: Any, graph: Path, options: Any) -> Any:
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes have no common base, and some are RuntimeError
        raise errors.FileDamaged(
            f'file "{graph}" is not a graph that onnxruntime can run', detail=str(error)[:500], hint="Install the model again."
        ) from None
