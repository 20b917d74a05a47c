"""Small encoders of every family with random weights, as folders, and what they compute, in numpy and float64, written from the papers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgembed import errors, models

LAYERS, HEADS, DIM, WIDE, VOCABULARY = 3, 4, 32, 64, 20
POSITIONS = {"bert": 16, "distilbert": 16, "roberta": 18, "xlm-roberta": 18, "mpnet": 202}
PAD = 1  # of the families that count positions from behind it

BERT_NAMES = {
    "layer": "encoder.layer.{}.",
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "o": "attention.output.dense",
    "first_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "second_norm": "output.LayerNorm",
}
NAMES = {
    "bert": BERT_NAMES,
    "roberta": BERT_NAMES,
    "xlm-roberta": BERT_NAMES,
    "mpnet": BERT_NAMES | {
        "q": "attention.attn.q",
        "k": "attention.attn.k",
        "v": "attention.attn.v",
        "o": "attention.attn.o",
        "first_norm": "attention.LayerNorm",
    },
    "distilbert": {
        "layer": "transformer.layer.{}.",
        "q": "attention.q_lin",
        "k": "attention.k_lin",
        "v": "attention.v_lin",
        "o": "attention.out_lin",
        "first_norm": "sa_layer_norm",
        "up": "ffn.lin1",
        "down": "ffn.lin2",
        "second_norm": "output_layer_norm",
    },
}  # fmt: skip


def config_of(family: str) -> dict[str, Any]:
    """config.json as transformers writes it, as far as it matters."""
    common = {"model_type": family, "max_position_embeddings": POSITIONS[family], "vocab_size": VOCABULARY}
    if family == "distilbert":
        return common | {"activation": "gelu", "dim": DIM, "hidden_dim": WIDE, "n_heads": HEADS, "n_layers": LAYERS}
    own = {"pad_token_id": PAD, "layer_norm_eps": 1e-5} if family in ("roberta", "xlm-roberta", "mpnet") else {"layer_norm_eps": 1e-12}
    sizes = {"hidden_size": DIM, "intermediate_size": WIDE, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS}
    return common | own | sizes | {"hidden_act": "gelu"}


def weights_of(family: str, prefix: str = "") -> dict[str, Any]:
    """Random weights under the family's names; always the same."""
    rng = np.random.default_rng(7)
    names = NAMES[family]

    def draw(*shape: int) -> Any:
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    made = {
        "embeddings.word_embeddings.weight": draw(VOCABULARY, DIM),
        "embeddings.position_embeddings.weight": draw(POSITIONS[family], DIM),
    }
    if family in ("bert", "roberta", "xlm-roberta"):
        made["embeddings.token_type_embeddings.weight"] = draw(2 if family == "bert" else 1, DIM)
        made["pooler.dense.weight"] = draw(DIM, DIM)
    if family == "mpnet":
        made["encoder.relative_attention_bias.weight"] = draw(32, HEADS)
    norms = ["embeddings.LayerNorm"]
    for i in range(LAYERS):
        layer = names["layer"].format(i)
        for part, rows, columns in (
            ("q", DIM, DIM),
            ("k", DIM, DIM),
            ("v", DIM, DIM),
            ("o", DIM, DIM),
            ("up", WIDE, DIM),
            ("down", DIM, WIDE),
        ):
            made[f"{layer}{names[part]}.weight"] = draw(rows, columns)
            made[f"{layer}{names[part]}.bias"] = draw(rows)
        norms += [layer + names["first_norm"], layer + names["second_norm"]]
    for norm in norms:
        made[f"{norm}.weight"] = 1 + draw(DIM)
        made[f"{norm}.bias"] = draw(DIM)
    return {prefix + name: array for name, array in made.items()}


def bucket(distance: int) -> int:
    """MPNet's bucket of a distance, key minus query: 8 exact ones, then 8 * 16 ** (i / 8) rounded up, the same again for the other way."""
    far = abs(distance)
    found = far if far < 8 else 8 + sum(far >= edge for edge in (12, 16, 23, 32, 46, 64, 91))
    return found + (16 if distance > 0 else 0)


ACTIVATIONS = {
    "gelu": np.vectorize(lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2),
    "gelu_new": np.vectorize(lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2),
    "relu": lambda x: np.maximum(x, 0),
}


def hidden_states(family: str, weights: dict[str, Any], ids: list[int], layers: int = LAYERS, activation: str = "gelu") -> Any:
    """The last layer's output for one text, float64 (seq, DIM); all tokens are attended to."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    names, n = NAMES[family], len(ids)
    epsilon = config_of(family).get("layer_norm_eps", 1e-12)

    def norm(x: Any, name: str) -> Any:
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + epsilon)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def dense(x: Any, name: str) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    places = list(range(n))
    if family in ("roberta", "xlm-roberta", "mpnet"):
        places = [PAD if token == PAD else PAD + sum(other != PAD for other in ids[: i + 1]) for i, token in enumerate(ids)]
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][places]
    if "embeddings.token_type_embeddings.weight" in w:
        x = x + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    bias: Any = 0
    if family == "mpnet":
        buckets = [[bucket(key - query) for key in range(n)] for query in range(n)]
        bias = w["encoder.relative_attention_bias.weight"][buckets].transpose(2, 0, 1)
    for i in range(layers):
        layer = names["layer"].format(i)
        q, k, v = (dense(x, layer + names[part]).reshape(n, HEADS, -1).swapaxes(0, 1) for part in "qkv")
        scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(DIM / HEADS) + bias)
        context = (scores / scores.sum(2, keepdims=True) @ v).swapaxes(0, 1).reshape(n, DIM)
        x = norm(x + dense(context, layer + names["o"]), layer + names["first_norm"])
        wide = ACTIVATIONS[activation](dense(x, layer + names["up"]))
        x = norm(x + dense(wide, layer + names["down"]), layer + names["second_norm"])
    return x


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, and the folders that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def change_json(path: Path, **changes: object) -> None:
    """Change some of a JSON object's fields."""
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def save_weights(folder: Path, weights: dict[str, Any]) -> None:
    """Write model.safetensors."""
    from safetensors.numpy import save_file

    save_file(weights, folder / "model.safetensors")


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json: WordPiece of the letters a to h; [CLS] and [SEP] are 2 and 3, and truncation is on."""
    import tokenizers

    pieces = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", *"abcdefgh", "##b"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(folder / "tokenizer.json"))


def write_folder(folder: Path, family: str = "bert", prefix: str = "") -> Path:
    """A sentence-transformers folder with mean pooling and normalisation, which reads 12 tokens (MPNet: 200)."""
    write_json(folder / "config.json", config_of(family))
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 200 if family == "mpnet" else 12, "do_lower_case": False})
    kind = "sentence_transformers.models."
    modules = [{"type": kind + "Transformer", "path": ""}, {"type": kind + "Pooling", "path": "1_Pooling"}]
    write_json(folder / "modules.json", [*modules, {"type": kind + "Normalize", "path": "2_Normalize"}])
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    write_tokenizer(folder)
    save_weights(folder, weights_of(family, prefix))
    return folder


def add(folder: Path, target: Path, **options: Any) -> models.ModelInfo:
    """Install a folder under the name m."""
    from pgembed.models import adding

    return adding.add_folder(folder, target, "m", source_label="a test", **options)


def opened(info: models.ModelInfo, target: Path) -> Any:
    """The transformer that was installed."""
    from pgembed.models.transformer import Transformer

    return Transformer(info, target / info.name / "current")


def refused(error: type[errors.PgembedError], message: str, folder: Path, target: Path, **options: Any) -> errors.PgembedError:
    """The error of adding a folder; nothing is left of it."""
    with pytest.raises(error, match=message) as caught:
        add(folder, target, **options)
    assert not target.exists() or list(target.iterdir()) == []
    assert caught.value.hint, "an error that says what to do about it"
    return caught.value
