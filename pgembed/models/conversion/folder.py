"""folder: a sentence-transformers folder, read and understood; nothing is written here.

config.json                        the network's shape
model.safetensors                  its weights, or shards of them with an index; else onnx/model.onnx or model.onnx
tokenizer.json                     how text becomes tokens
modules.json, <n>_Pooling/         how the tokens' vectors become one, and whether its length is made 1
sentence_bert_config.json          may be missing: how many tokens of a text are read
config_sentence_transformers.json  may be missing: the prompts for queries and documents
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgembed import errors
from pgembed.models.conversion import exported, families, graph, weights

_ANOTHER = "Take another model."

# Names in config_sentence_transformers.json; the first that is there is taken.
_QUERY_PROMPTS = ("query",)
_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True)
class Folder:
    """A model's folder.

    Attributes:
        files: its weights; of an exported graph the graph first.
        sha256: their checksum.
        network: what config.json says; None of an exported graph, which says it itself.
        pooling, normalize: what modules.json says.
        dim: of its vectors.
        max_tokens: what it reads of a text, special tokens included.
        tokenizer: the JSON text as it will be installed, truncation and padding off.
        query_prompt, document_prompt: '' for none.
    """

    files: tuple[Path, ...]
    sha256: str
    network: families.Network | None
    pooling: graph.Pooling
    normalize: bool
    dim: int
    max_tokens: int
    tokenizer: str
    query_prompt: str = ""
    document_prompt: str = ""

    @property
    def layers(self) -> int:
        """Of the encoder; 0 of an exported graph, which can't be cut."""
        return self.network.architecture.layers if self.network else 0

    def fingerprint(self, precision: graph.Precision) -> str:
        """SHA-256 over all that decides the vectors but the prompts: weights, tokenizer, options and this code's graph revision.

        Made of the source, not of the graph's bytes, so that two versions of the onnx package agree on it.
        """
        options: dict[str, Any] = {
            "graph": graph.GRAPH_REVISION,
            "precision": precision,
            "weights": self.sha256,
            "tokenizer": hashlib.sha256(self.tokenizer.encode()).hexdigest(),
            "max_tokens": self.max_tokens,
            "pooling": self.pooling,
            "normalize": self.normalize,
        }
        if self.network is None:
            options["exported"] = True
        else:
            # What is as in BERT is left out, so that a new field leaves the fingerprints as they are.
            for field in dataclasses.fields(self.network.architecture):
                value = getattr(self.network.architecture, field.name)
                if field.default is dataclasses.MISSING or value != field.default:
                    options[field.name] = value
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()


def read_folder(folder: Path, precision: graph.Precision = "fp32") -> Folder:
    """Read a model's folder.

    Args:
        precision: the one that it will be installed in; int8 needs weights as safetensors.
    Raises:
        FileMissing: a file is not there.
        FileDamaged: a file is not what it should be, or two do not belong together.
        NotSupported: the model has something that is understood and not provided.
    """
    modules = _modules(folder)
    inner = folder / modules.pop("Transformer")
    pooling = _pooling(folder / modules["Pooling"])
    prompts = _prompts(folder)
    if pooling.get("include_prompt") is False and any(prompts):
        raise errors.NotSupported("the pooling leaves out a prompt's tokens: include_prompt is false, expected true", hint=_ANOTHER)
    mode = _mode(pooling)
    config = read_json(inner / "config.json")
    tokenizer, largest = _tokenizer(inner)
    files, network = _network(folder, inner, config, precision, mode, "Normalize" in modules)
    if network is not None and network.words is not None and largest >= network.words:
        raise errors.FileDamaged(
            f"the tokenizer's largest number is {largest}, and config.json has a vocabulary of {network.words}",
            hint="Do tokenizer.json and the weights belong to one model?",
        )
    width = network.width if network else config.get("hidden_size") or config.get("dim")
    if not isinstance(width, int):
        raise errors.FileDamaged(
            f"hidden_size of config.json is {width!r}, expected a positive whole number", hint="Fetch the model again, or mend the file."
        )
    return Folder(
        files=files,
        sha256=weights.sha256(files),
        network=network,
        pooling=mode,
        normalize="Normalize" in modules,
        dim=width,
        max_tokens=_max_tokens(inner, config, network),
        tokenizer=tokenizer,
        query_prompt=prompts[0],
        document_prompt=prompts[1],
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        FileMissing, FileDamaged: the file is not there, or not one.
    """
    found = _json(path)
    if not isinstance(found, dict):
        raise errors.FileDamaged(f'file "{path}" holds a JSON {type(found).__name__}, expected an object', hint="Fetch the model again.")
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise errors.FileMissing(
            f'file "{path}" does not exist',
            hint="The folder must be a sentence-transformers model; SentenceTransformer(...).save_pretrained writes one.",
        ) from None
    except ValueError as error:
        raise errors.FileDamaged(f'file "{path}" is not JSON: {error}', hint="Fetch the model again.") from None


def _optional(path: Path) -> dict[str, Any]:
    return read_json(path) if path.exists() else {}


def _modules(folder: Path) -> dict[str, str]:
    """Name of each module -> its folder, from modules.json."""
    try:
        listed = {str(module["type"]).rsplit(".", 1)[-1]: str(module["path"]) for module in _json(folder / "modules.json")}
    except (KeyError, TypeError):
        raise errors.FileDamaged(f'file "{folder / "modules.json"}" is not a list of modules', hint="Fetch the model again.") from None
    # The order is that of the computation.
    if list(listed) not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise errors.NotSupported(
            f"modules of the model are {', '.join(listed) or 'none'}, expected Transformer, Pooling and, at most, Normalize",
            hint=f"{_ANOTHER} A Dense module, for one, is not provided for.",
        )
    return listed


def _pooling(place: Path) -> dict[str, Any]:
    return read_json(place / "config.json")


def _mode(pooling: Mapping[str, Any]) -> graph.Pooling:
    """How tokens become one vector; older files have a switch for each way, newer ones a word."""
    said = pooling.get("pooling_mode")
    modes = [said] if isinstance(said, str) else list(said or [])
    modes += [key.removeprefix("pooling_mode_") for key, on in pooling.items() if key.startswith("pooling_mode_") and on]
    if modes in (["mean"], ["mean_tokens"]):
        return "mean"
    if modes in (["cls"], ["cls_token"]):
        return "cls"
    raise errors.NotSupported(f"the pooling mode must be mean or cls, not {' and '.join(map(str, modes)) or 'none'}", hint=_ANOTHER)


def _prompts(folder: Path) -> tuple[str, str]:
    """The prompts before queries and documents, as sentence-transformers' encode_query and encode_document choose them."""
    path = folder / "config_sentence_transformers.json"
    said = _optional(path)
    prompts = said.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(text, str) for text in prompts.values()):
        raise errors.FileDamaged(f'prompts of "{path}" are not texts by name', hint="Fetch the model again.")
    usual = str(prompts.get(said.get("default_prompt_name"), ""))

    def chosen(names: tuple[str, ...]) -> str:
        return next((str(prompts[name]) for name in names if name in prompts), usual)

    return chosen(_QUERY_PROMPTS), chosen(_DOCUMENT_PROMPTS)


def _tokenizer(inner: Path) -> tuple[str, int]:
    """tokenizer.json as it is installed, and the largest number it gives."""
    import tokenizers

    path = inner / "tokenizer.json"
    if not path.is_file():
        raise errors.FileMissing(
            f'file "{path}" does not exist', hint="transformers' AutoTokenizer.from_pretrained(...).save_pretrained(...) writes one."
        )
    said = read_json(path)
    said["truncation"] = said["padding"] = None
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    try:
        numbers: list[int] = list(tokenizers.Tokenizer.from_str(text).get_vocab(with_added_tokens=True).values())
    except Exception as error:  # the package raises Exception itself
        raise errors.FileDamaged(f'file "{path}" is not a tokenizer', detail=str(error)[:500], hint="Fetch the model again.") from None
    if not numbers:
        raise errors.FileDamaged(f'file "{path}" has an empty vocabulary', hint="Fetch the model again.")
    return text, max(numbers)


def _network(
    folder: Path, inner: Path, config: dict[str, Any], precision: graph.Precision, pooling: graph.Pooling, normalize: bool
) -> tuple[tuple[Path, ...], families.Network | None]:
    """The files of weights and the network they are of; an exported graph where there are no safetensors, or of no known family."""
    found = weights.files_of(inner)
    onnx = exported.graph_of(inner) or exported.graph_of(folder)
    if found and (onnx is None or precision != "fp32" or config.get("model_type") in families.FAMILIES):
        return found, families.understand(config, pooling, normalize)
    if onnx is None:
        raise errors.FileMissing(
            f'no model.safetensors and no {" or ".join(exported.PLACES)} in "{inner}"',
            hint="A pytorch_model.bin is a pickle, which is never read; transformers' save_pretrained writes safetensors.",
        )
    if precision != "fp32":
        raise errors.NotSupported(
            f"{precision} is made of model.safetensors, and the folder has an ONNX file only",
            hint="Add it as fp32, or get the safetensors.",
        )
    return exported.files_of(onnx), None


def _max_tokens(inner: Path, config: Mapping[str, Any], network: families.Network | None) -> int:
    """What sentence-transformers would read: its own limit, else the tokenizer's; never more than there are positions."""
    path = inner / "sentence_bert_config.json"
    said = _optional(path)
    if said.get("do_lower_case"):
        raise errors.NotSupported(
            "do_lower_case of sentence_bert_config.json must be false", hint="Let the tokenizer lower the case: its normalizer can."
        )
    limit = said.get("max_seq_length")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise errors.FileDamaged(
            f'max_seq_length of "{path}" is {limit!r}, expected a positive whole number', hint="Fetch the model again, or mend the file."
        )
    if limit is None:
        own = _optional(inner / "tokenizer_config.json").get("model_max_length")
        # A tokenizer without a limit has 10**30 there.
        limit = int(own) if isinstance(own, int | float) and 1 <= own < sys.maxsize else sys.maxsize
    positions = network.max_tokens if network else config.get("max_position_embeddings")
    if isinstance(positions, int) and not isinstance(positions, bool):
        limit = min(limit, positions)
    if limit == sys.maxsize:
        hint = "Write max_seq_length into sentence_bert_config.json."
        raise errors.FileDamaged(f'nothing in "{inner}" says how many tokens the model reads', hint=hint)
    return limit
