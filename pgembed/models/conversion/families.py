"""families: how BERT's relatives name their weights and what their config.json says, so that one graph serves them all.

BERT: https://arxiv.org/abs/1810.04805; RoBERTa: https://arxiv.org/abs/1907.11692; DistilBERT: https://arxiv.org/abs/1910.01108;
XLM-RoBERTa: https://arxiv.org/abs/1911.02116; MPNet: https://arxiv.org/abs/2004.09297. What they have in common is an encoder whose
layers are attention and two dense layers, a layer norm after each. What differs is in ``Architecture`` and in the names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pgembed import errors
from pgembed.models.conversion.graph import Activation, Architecture, Pooling

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}

_EXPORT = "Another network can be added as an ONNX file, without int8 and layers: export it as onnx/model.onnx beside config.json."

_BERT_CONFIG = {
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "wide": "intermediate_size",
    "activation": "hidden_act",
}
# In a layer: BERT's name and shape (rows, columns) of each dense matrix, w for wide and d for the model's width.
_DENSE = {
    "attention.self.query": "dd",
    "attention.self.key": "dd",
    "attention.self.value": "dd",
    "attention.output.dense": "dd",
    "intermediate.dense": "wd",
    "output.dense": "dw",
}
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True)
class Family:
    """A family's own ways.

    Attributes:
        renamed: BERT's name of a part of a layer -> the family's.
        config: what we call a number -> what config.json does.
        stem: before a layer's number.
        segments: it has an embedding for which of two texts a token is in.
        pads: positions are counted from behind the padding token's number, and only tokens that are none are counted.
        relative: attention has a bias for the distance of two tokens, the same in all layers.
        epsilon: of the layer norms, where config.json does not say.
    """

    renamed: Mapping[str, str]
    config: Mapping[str, str]
    stem: str = "encoder.layer"
    segments: bool = True
    pads: bool = False
    relative: bool = False
    epsilon: float = 1e-12

    def name(self, layer: int, part: str) -> str:
        """The family's name of a layer's part."""
        return f"{self.stem}.{layer}.{self.renamed.get(part, part)}"


_ROBERTA = Family({}, _BERT_CONFIG, pads=True, epsilon=1e-5)
FAMILIES = {
    "bert": Family({}, _BERT_CONFIG),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "distilbert": Family(
        {
            "attention.self.query": "attention.q_lin",
            "attention.self.key": "attention.k_lin",
            "attention.self.value": "attention.v_lin",
            "attention.output.dense": "attention.out_lin",
            "attention.output.LayerNorm": "sa_layer_norm",
            "intermediate.dense": "ffn.lin1",
            "output.dense": "ffn.lin2",
            "output.LayerNorm": "output_layer_norm",
        },
        {"width": "dim", "layers": "n_layers", "heads": "n_heads", "wide": "hidden_dim", "activation": "activation"},
        stem="transformer.layer",
        segments=False,
    ),
    "mpnet": Family(
        {
            "attention.self.query": "attention.attn.q",
            "attention.self.key": "attention.attn.k",
            "attention.self.value": "attention.attn.v",
            "attention.output.dense": "attention.attn.o",
            "attention.output.LayerNorm": "attention.LayerNorm",
        },
        _BERT_CONFIG,
        segments=False,
        pads=True,
        relative=True,
    ),
}


@dataclass(frozen=True)
class Network:
    """A config.json of a family, understood.

    ``words`` is the size of the vocabulary, None where nobody says; ``positions`` how many rows the table of positions has.
    """

    family: Family
    architecture: Architecture
    width: int
    wide: int
    words: int | None
    positions: int

    @property
    def max_tokens(self) -> int:
        """How many tokens a text may have, special ones included."""
        pad = self.architecture.pad_id
        return self.positions if pad is None else self.positions - pad - 1


def understand(config: Mapping[str, Any], pooling: Pooling, normalize: bool) -> Network:
    """What a config.json says.

    Raises:
        NotSupported: another kind of network, or a variant that the graph has no code for.
        FileDamaged: a number is missing or can't be.
    """
    kind = config.get("model_type")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        raise errors.NotSupported(
            f"model_type of config.json must be one of {', '.join(sorted(FAMILIES))}, not {kind!r}",
            hint=_EXPORT,
        )
    variant = config.get("position_embedding_type") or "absolute"
    if variant != "absolute":
        raise errors.NotSupported(f"position_embedding_type must be 'absolute', not {variant!r}", hint=_EXPORT)
    activation = config.get(family.config["activation"])
    if activation not in _ACTIVATIONS:
        raise errors.NotSupported(
            f"{family.config['activation']} of config.json must be one of {', '.join(_ACTIVATIONS)}, not {activation!r}",
            hint=_EXPORT,
        )
    width, layers, heads, wide = (_positive(config, family.config[key]) for key in ("width", "layers", "heads", "wide"))
    if width % heads:
        raise errors.FileDamaged(
            f"config.json has a width of {width} and {heads} heads, expected a multiple of the heads",
            hint="Fetch the model again, or mend the file.",
        )
    epsilon = config.get("layer_norm_eps", family.epsilon)
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise errors.FileDamaged(
            f"layer_norm_eps of config.json is {epsilon!r}, expected a small positive number",
            hint="Fetch the model again, or mend the file.",
        )
    pad_id = None
    if family.pads:
        # MPNet has its padding token at 1 whatever config.json says (transformers' MPNetEmbeddings).
        pad_id = 1 if family.relative else config.get("pad_token_id", 1)
        if isinstance(pad_id, bool) or not isinstance(pad_id, int) or pad_id < 0:
            raise errors.FileDamaged(
                f"pad_token_id of config.json is {pad_id!r}, expected a token's number", hint="Fetch the model again, or mend the file."
            )
    positions = _positive(config, "max_position_embeddings")
    if pad_id is not None and positions <= pad_id + 1:
        raise errors.FileDamaged(
            f"max_position_embeddings of config.json is {positions}, expected more than {pad_id + 1}",
            hint="Fetch the model again, or mend the file.",
        )
    architecture = Architecture(
        layers=layers,
        heads=heads,
        epsilon=epsilon,
        pooling=pooling,
        normalize=normalize,
        activation=_ACTIVATIONS[activation],
        pad_id=pad_id,
        relative=family.relative,
    )
    words = _positive(config, "vocab_size") if "vocab_size" in config else None
    return Network(family, architecture, width, wide, words, positions)


def _positive(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise errors.FileDamaged(
            f"{key} of config.json is {value!r}, expected a positive whole number", hint="Fetch the model again, or mend the file."
        )
    return value


def canonical(found: Mapping[str, NDArray[np.float32]], network: Network) -> dict[str, NDArray[np.float32]]:
    """A network's weights under BERT's names, each of the shape that config.json asks for; others are left out.

    Args:
        found: by the file's names, which may all have a prefix, such as ``roberta.``.
    Raises:
        FileDamaged: a weight is missing, has another shape, or there are more layers than config.json says.
    """
    family, width = network.family, network.width
    prefix = next((name.removesuffix(_WORDS) for name in found if name.endswith(_WORDS)), "")
    made: dict[str, NDArray[np.float32]] = {}

    def take(name: str, own: str, *shape: int | None) -> None:
        # The oldest files were converted from TensorFlow and call a layer norm's weights gamma and beta.
        spelled = [own, own.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")]
        array = next((found[prefix + way] for way in spelled if prefix + way in found), None)
        if array is None:
            raise errors.FileDamaged(f'weight "{own}" is missing', hint="Do config.json and the weights belong to one model?")
        if len(array.shape) != len(shape) or any(e is not None and e != f for e, f in zip(shape, array.shape, strict=True)):
            expected = ", ".join("any" if size is None else str(size) for size in shape)
            raise errors.FileDamaged(
                f'weight "{own}" has shape ({", ".join(map(str, array.shape))}), expected ({expected}) by config.json',
                hint="Do config.json and the weights belong to one model?",
            )
        made[name] = array

    def take_norm(name: str, own: str) -> None:
        take(f"{name}.weight", f"{own}.weight", width)
        take(f"{name}.bias", f"{own}.bias", width)

    take(_WORDS, _WORDS, network.words, width)
    take("embeddings.position_embeddings.weight", "embeddings.position_embeddings.weight", network.positions, width)
    if family.segments:
        take("embeddings.token_type_embeddings.weight", "embeddings.token_type_embeddings.weight", None, width)
    if family.relative:
        take("relative", "encoder.relative_attention_bias.weight", None, network.architecture.heads)
    take_norm("embeddings.LayerNorm", "embeddings.LayerNorm")
    sizes = {"d": width, "w": network.wide}
    for layer in range(network.architecture.layers):
        for part, shape in _DENSE.items():
            own = family.name(layer, part)
            take(f"encoder.layer.{layer}.{part}.weight", f"{own}.weight", sizes[shape[0]], sizes[shape[1]])
            take(f"encoder.layer.{layer}.{part}.bias", f"{own}.bias", sizes[shape[0]])
        for part in _NORMS:
            take_norm(f"encoder.layer.{layer}.{part}", family.name(layer, part))
    numbered = re.compile(re.escape(f"{prefix}{family.stem}.") + r"(\d+)\.")
    layers = 1 + max((int(match[1]) for name in found if (match := numbered.match(name))), default=-1)
    if layers > network.architecture.layers:
        raise errors.FileDamaged(
            f"the weights have {layers} layers, expected {network.architecture.layers} by config.json",
            hint="Do config.json and the weights belong to one model?",
        )
    return made
