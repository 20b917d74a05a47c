"""static_folder: installs static models: what Model2Vec saved (https://github.com/MinishLab/model2vec), and what ``distill`` made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgembed import errors
from pgembed.models import store, threads, words
from pgembed.models.contract import ModelInfo
from pgembed.models.conversion import weights
from pgembed.models.options import Options, derive
from pgembed.models.static import FACTS, ROWS, TABLE, TOKENIZER, WEIGHTS, WORDS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Raised when the same parts would give other vectors than before; part of every fingerprint.
_REVISION = 1

_MODEL2VEC_TOKENS = 512
_AS_IT_IS = Options()
_HINT = "The folder must be a model that Model2Vec saved: model.safetensors, config.json and tokenizer.json."


@dataclass(frozen=True)
class Parts:
    """What an installed static model is made of.

    Attributes:
        table: float32, shape (rows, dim), finite.
        tokenizer: as tokenizer.json has it; its truncation and padding are not used.
        rows: int32, shape (tokens,), the row of each token; None where they are the same.
        weights: float32, shape (tokens,); None for none.
        max_tokens: how many tokens of a text are read; None for all. max_chars: how many characters at most, before tokens are counted.
        unknown: the number of a token that counts for nothing; -1 for none.
    """

    table: NDArray[np.float32]
    tokenizer: dict[str, Any]
    normalized: bool
    rows: NDArray[np.int32] | None = None
    weights: NDArray[np.float32] | None = None
    max_tokens: int | None = None
    max_chars: int | None = None
    unknown: int = -1

    def fingerprint(self) -> str:
        """SHA-256 over all that decides the vectors: the table's numbers, tokenizer and options."""
        arrays = {"table": self.table, "rows": self.rows, "weights": self.weights}
        options = {
            "static": _REVISION,
            "shape": list(self.table.shape),
            **{name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items() if array is not None},
            "tokenizer": hashlib.sha256(self.tokenizer_json().encode()).hexdigest(),
            "normalized": self.normalized,
            "max_tokens": self.max_tokens,
            "max_chars": self.max_chars,
            "unknown": self.unknown,
        }
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()

    def tokenizer_json(self) -> str:
        """tokenizer.json as it is installed."""
        said = {**self.tokenizer, "truncation": None, "padding": None}
        return json.dumps(said, ensure_ascii=False, separators=(",", ":"))


def install(parts: Parts, target: Path, info: ModelInfo, report: Callable[[str], None]) -> ModelInfo:
    """Install a static model under ``target / info.name``; what is there already and whole stays untouched.

    Args:
        info: its description, fingerprint included.
        report: gets a line about what was done.
    Returns:
        The installed model's description.
    Raises:
        FileDamaged: the parts don't fit each other, or a number is NaN or infinite. Nothing is written then.
    """
    import numpy as np

    _check(parts)
    with store.new_revision(target, info) as work:
        if work is not None:
            np.save(work / TABLE, np.ascontiguousarray(parts.table, np.float32))
            if parts.rows is not None:
                np.save(work / ROWS, parts.rows.astype(np.int32))
            if parts.weights is not None:
                np.save(work / WEIGHTS, parts.weights.astype(np.float32))
            (work / TOKENIZER).write_text(parts.tokenizer_json(), encoding="utf-8")
            (work / FACTS).write_text(json.dumps({"unknown": parts.unknown, "max_chars": parts.max_chars}) + "\n", encoding="utf-8")
            words.write(parts.tokenizer, work / WORDS)
    said = f"{info.dim} dimensions, {len(parts.table)} rows, fingerprint {info.fingerprint[:12]}"
    report(f"{info.name}: is installed already" if work is None else f"{info.name}: installed, {said}")
    return store.read_info(target / info.name / store.CURRENT)


def install_folder(
    source: Path,
    target: Path,
    name: str,
    *,
    options: Options = _AS_IT_IS,
    source_label: str,
    source_revision: str = "",
    sha256: str | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> ModelInfo:
    """Install a model that Model2Vec, or sentence-transformers with its StaticEmbedding, has saved.

    Vectors are those of the ``model2vec`` package's ``encode`` to 1e-6; of a table in float16 they are what it computes before it rounds
    them to float16 again, and of texts with thousands of tokens, whose sum it makes in float32, they have more right digits. Its two
    limits are kept, so that vectors made elsewhere match: ``max_length`` tokens of the config (512 where it has none, null for no limit),
    and before that as many characters as those tokens have if each is of the vocabulary's median length. A text that is cut by either
    counts as truncated. Its special cases are kept, too: no special tokens, unknown ones dropped, zeros where nothing is left.
    StaticEmbedding has no limit but its tokenizer's own, and keeps unknown tokens.

    Args:
        source: folder with model.safetensors (tensor ``embeddings`` of float16, float32, float64 or int8, optionally ``weights`` and
            ``mapping``; or ``embedding.weight``), tokenizer.json, and config.json or modules.json.
        target: the directory of all models.
        options: dim, normalize and prompts; all else stays None.
        source_label: where it came from, for people; ``source_revision`` is its version.
        sha256: what the checksum of model.safetensors must be; None for whatever it is.
    Returns:
        The installed model's description.
    Raises:
        FileMissing: a file is not there.
        FileDamaged: a file is not what it should be, they don't fit each other, or a number is NaN or infinite.
        InvalidParameter, NotSupported: an option is not possible.
    """
    parts, found_sha256 = _read_folder(source)
    store.check_sha256(f'the weights in "{source}"', found_sha256, sha256)
    if options.basis not in (None, "none"):
        raise errors.NotSupported("a static model is installed without a basis", hint="Register it with one: pgembed.register_model.")
    base = ModelInfo(
        name=name,
        kind="static",
        dim=int(parts.table.shape[1]),
        max_tokens=parts.max_tokens,
        normalized=parts.normalized,
        precision="fp32",
        source=source_label,
        source_sha256=found_sha256,
        source_revision=source_revision,
        fingerprint=parts.fingerprint(),
    )
    info = derive(base, name, options)
    # A mean's first dimensions are the mean of the first dimensions.
    parts = dataclasses.replace(parts, table=parts.table[:, : info.dim], normalized=info.normalized)
    return install(parts, target, info, report)


def _read_folder(source: Path) -> tuple[Parts, str]:
    """A saved model, and the checksum of its weights."""
    import numpy as np

    inner = source / "0_StaticEmbedding"
    place = inner if inner.is_dir() and not (source / "model.safetensors").is_file() else source
    weights = place / "model.safetensors"
    tensors = _tensors(weights)
    tokenizer = _json(place / "tokenizer.json")
    if "embedding.weight" in tensors:
        modules = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in _json(source / "modules.json")]
        limit = tokenizer.get("truncation") or {}
        parts = Parts(_floats("embedding.weight", tensors), tokenizer, "Normalize" in modules, max_tokens=limit.get("max_length"))
        return parts, store.sha256(weights)
    if "embeddings" not in tensors:
        raise errors.FileDamaged(
            f'file "{weights}" has the tensors {", ".join(sorted(tensors)) or "(none)"}, expected embeddings', hint=_HINT
        )
    config = _json(source / "config.json")
    if not isinstance(config, dict):
        raise errors.FileDamaged(f'file "{source / "config.json"}" is a {type(config).__name__}, expected an object', hint=_HINT)
    table = _floats("embeddings", tensors)
    rows = tensors["mapping"].astype(np.int32) if "mapping" in tensors else None
    scales = _floats("weights", tensors) if "weights" in tensors else None
    if scales is not None and rows is None and scales.shape == table.shape[:1]:
        table, scales = table * scales[:, None], None
    max_tokens = config.get("max_length", _MODEL2VEC_TOKENS)
    if not (max_tokens is None or (type(max_tokens) is int and max_tokens > 0)):
        raise errors.FileDamaged(
            f'max_length of "{source / "config.json"}" is {max_tokens!r}, expected a number of tokens, or null',
            hint="Fetch the model again, or mend the file.",
        )
    vocabulary = loaded(tokenizer).get_vocab()
    median = int(np.median([len(token) for token in vocabulary])) if vocabulary else 0
    parts = Parts(
        table=table,
        tokenizer=tokenizer,
        normalized=bool(config.get("normalize", False)),
        rows=rows,
        weights=scales,
        max_tokens=max_tokens,
        max_chars=None if max_tokens is None else max_tokens * median,
        unknown=unknown_of(tokenizer),
    )
    return parts, store.sha256(weights)


def unknown_of(tokenizer: dict[str, Any]) -> int:
    """The number of the token that stands for what a tokenizer.json's vocabulary does not have; -1 where there is none."""
    model = tokenizer["model"]
    number = model.get("unk_id") if model.get("unk_token") is None else loaded(tokenizer).token_to_id(model["unk_token"])
    return -1 if number is None else int(number)


def _check(parts: Parts) -> None:
    """Refuse what would give wrong vectors, or none, later."""
    shape = parts.table.shape
    weights.check_finite("embeddings", parts.table)
    vocabulary = loaded(parts.tokenizer).get_vocab()
    # A vocabulary may have holes, so its largest number counts.
    tokens = max(vocabulary.values(), default=-1) + 1
    if parts.rows is None and shape[0] != tokens:
        raise errors.FileDamaged(f"the table has {shape[0]} rows, expected {tokens}, one for each token of tokenizer.json", hint=_HINT)
    if parts.rows is not None:
        if parts.rows.shape != (tokens,):
            raise errors.FileDamaged(f"mapping has shape {parts.rows.shape}, expected ({tokens},), a number for each token", hint=_HINT)
        low, high = int(parts.rows.min()), int(parts.rows.max())
        if low < 0 or high >= shape[0]:
            raise errors.FileDamaged(f"mapping has numbers from {low} to {high}, expected 0 to {shape[0] - 1}", hint=_HINT)
    if parts.weights is not None:
        weights.check_finite("weights", parts.weights)
        if parts.weights.shape != (tokens,):
            raise errors.FileDamaged(f"weights have shape {parts.weights.shape}, expected ({tokens},), a number for each token", hint=_HINT)


def loaded(tokenizer: dict[str, Any]) -> Any:
    """A ``tokenizers.Tokenizer`` of a tokenizer.json.

    Raises:
        FileDamaged: it is not one.
    """
    with threads.signals_blocked():
        import tokenizers
    try:
        return tokenizers.Tokenizer.from_str(json.dumps(tokenizer))
    except Exception as error:  # the package raises plain Exception
        raise errors.FileDamaged("tokenizer.json is not a tokenizer", detail=str(error)[:500], hint=_HINT) from None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise errors.FileMissing(f'file "{path}" does not exist', hint=_HINT) from None
    except ValueError as error:
        raise errors.FileDamaged(f'file "{path}" is not JSON', detail=str(error), hint=_HINT) from None


def _tensors(path: Path) -> dict[str, Any]:
    with threads.signals_blocked():
        import safetensors
        from safetensors.numpy import load_file
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise errors.FileMissing(f'file "{path}" does not exist', hint=_HINT) from None
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise errors.FileDamaged(f'file "{path}" is not a whole safetensors file', detail=str(error)[:500], hint=_HINT) from None


def _floats(name: str, tensors: dict[str, Any]) -> Any:
    import numpy as np

    array = tensors[name]
    if array.dtype.kind != "f" and array.dtype != np.int8:
        raise errors.FileDamaged(f'tensor "{name}" is of type {array.dtype}, expected float16, float32, float64 or int8', hint=_HINT)
    if name != "weights" and (array.ndim != 2 or not array.size):
        raise errors.FileDamaged(f'tensor "{name}" has shape {array.shape}, expected (rows, dim)', hint=_HINT)
    return np.ascontiguousarray(array, np.float32)
