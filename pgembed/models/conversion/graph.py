"""The encoder of BERT and its relatives as an ONNX graph, written straight from its weights: no torch, no exporter.

BERT: Devlin et al. 2018, https://arxiv.org/abs/1810.04805; MPNet's bias for distances: Song et al. 2020,
https://arxiv.org/abs/2004.09297, after T5, Raffel et al. 2020, https://arxiv.org/abs/1910.10683; the pooling is
Sentence-BERT's, Reimers and Gurevych 2019, https://arxiv.org/abs/1908.10084. The graph uses onnxruntime's fused
operators (domain com.microsoft) by name, so that nothing is left for its optimiser to recognise while a backend loads the model.

Two precisions. ``fp32`` is the network as published. ``int8`` does the matrix products in integers: activations get
one scale a token (ZeroQuant, Yao et al. 2022, https://arxiv.org/abs/2206.01861), weights one an output. onnxruntime's
own dynamic quantisation has one scale for the whole batch, which makes a text's vector depend on the texts beside it;
with a scale a token it does not. Weights have 7 bits, because CPUs without VNNI add two 8-bit products in 16 bits and
would saturate: 255 * 63 * 2 < 2**15.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Weights = Mapping[str, NDArray[np.float32]]

# Raised whenever the same weights would give other vectors than before; part of every fingerprint.
GRAPH_REVISION = 1

# 17 is the first with LayerNormalization; IR 8 is the oldest that carries it, so that older runtimes read it too.
_OPSET = 17
_IR_VERSION = 8
_FUSED = "com.microsoft"

_ACTIVATION_MAX = 127
_WEIGHT_MAX = 63
_EMBEDDING_MAX = 127

Precision = Literal["fp32", "int8"]
Pooling = Literal["mean", "cls"]
Activation = Literal["gelu", "gelu_tanh", "relu"]

# Smaller tensors stand in the graph itself; larger ones in the file of weights, each at a page's beginning, so that they can be mapped.
_INLINE_BYTES = 1024
PAGE = 4096

# Distances beyond this are as far as this (MPNetEncoder.relative_position_bucket).
_FARTHEST = 128


@dataclass(frozen=True)
class Architecture:
    """What config.json and modules.json say of an encoder and its weights do not.

    Attributes:
        layers, heads: their numbers.
        epsilon: of the layer norms.
        pooling: makes one vector of a text's tokens.
        normalize: scales it to length 1.
        activation: between the two dense layers.
        pad_id: the padding token's number, where positions are counted from behind it and other tokens alone are counted (RoBERTa).
        relative: attention has a bias for the distance of two tokens (MPNet).
        dim: how many leading dimensions of the pooled vector are kept; None for all.
    """

    layers: int
    heads: int
    epsilon: float
    pooling: Pooling
    normalize: bool
    activation: Activation = "gelu"
    pad_id: int | None = None
    relative: bool = False
    dim: int | None = None


class _Writer:
    """Collects nodes and constants in the order of the computation; a tensor is known by its name."""

    def __init__(self, weights: Weights, architecture: Architecture, precision: Precision, data: BinaryIO) -> None:
        self.weights = weights
        self.architecture = architecture
        self.precision = precision
        self.data = data
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        if precision == "int8":
            import numpy as np

            self.constant("activation_step", np.float32(1 / _ACTIVATION_MAX))
            # Keeps an all-zero token from a division by zero; smaller than any activation that matters.
            self.constant("least_scale", np.float32(1e-12))
            self.constant("one", np.float32(1))
            self.constant("zero_point", np.uint8(128))
            self.constant("row", np.array([-1], np.int64))
            self.node("Size", ["input_ids"], "token_count")
            self.node("Reshape", ["token_count", "row"], "token_count_1d")
            self.node("Expand", ["zero_point", "token_count_1d"], "zero_points")

    def constant(self, name: str, array: Any) -> str:
        import numpy as np
        from onnx import TensorProto, helper, numpy_helper

        array = np.asarray(array)
        if array.nbytes < _INLINE_BYTES:
            # Not ascontiguousarray: it would make a scalar an array of one.
            self.constants[name] = numpy_helper.from_array(array.copy(order="C"), name)
            return name
        start = self.data.seek(-(-self.data.tell() // PAGE) * PAGE)
        self.data.write(np.ascontiguousarray(array).data)
        tensor = TensorProto(
            name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), data_location=TensorProto.EXTERNAL
        )
        for key, value in (("location", Path(self.data.name).name), ("offset", start), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        self.constants[name] = tensor
        return name

    def node(self, op: str, inputs: list[str], output: str | list[str], domain: str = "", **attributes: Any) -> str:
        from onnx import helper

        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(op, inputs, outputs, name=f"{outputs[0]}/{op}", domain=domain, **attributes))
        return outputs[0]

    def linear(self, x: str, matrix: NDArray[np.float32], output: str) -> str:
        """``output = x @ matrix``, the bias left to the fused operator that follows."""
        if self.precision == "fp32":
            return self.node("MatMul", [x, self.constant(f"{output}.weight", matrix)], output)
        import numpy as np

        step = np.abs(matrix).max(axis=0) / np.float32(_WEIGHT_MAX)
        step[step == 0] = 1
        weight = self.constant(f"{output}.weight", np.rint(matrix / step).astype(np.int8))
        steps = self.constant(f"{output}.steps", step)
        # QuantizeLinear has scales along one axis only, so tokens become rows and go back to (batch, seq) afterwards.
        self.node("Abs", [x], f"{output}.abs")
        self.node("ReduceMax", [f"{output}.abs"], f"{output}.max", axes=[-1], keepdims=1)
        self.node("Mul", [f"{output}.max", "activation_step"], f"{output}.raw_scale")
        self.node("Max", [f"{output}.raw_scale", "least_scale"], f"{output}.scale")
        rows = self.constant(f"{output}.rows_shape", np.array([-1, matrix.shape[0]], np.int64))
        self.node("Reshape", [x, rows], f"{output}.rows")
        self.node("Reshape", [f"{output}.scale", "row"], f"{output}.row_scales")
        self.node("QuantizeLinear", [f"{output}.rows", f"{output}.row_scales", "zero_points"], f"{output}.q_rows", axis=0)
        self.node("Shape", [x], f"{output}.shape")
        self.node("Reshape", [f"{output}.q_rows", f"{output}.shape"], f"{output}.q")
        inputs = [f"{output}.q", weight, "one", steps, "zero_point"]
        self.node("MatMulIntegerToFloat", inputs, f"{output}.unscaled", _FUSED)
        return self.node("Mul", [f"{output}.unscaled", f"{output}.scale"], output)

    def word_embeddings(self) -> str:
        words = self.weights["embeddings.word_embeddings.weight"]
        if self.precision == "fp32":
            return self.node("Gather", [self.constant("words", words), "input_ids"], "word")
        import numpy as np
        from onnx import TensorProto

        # The table is half of the file; in bytes it costs a backend a quarter of the memory, and no measurable quality.
        step = np.abs(words).max(axis=1, keepdims=True) / np.float32(_EMBEDDING_MAX)
        step[step == 0] = 1
        self.node("Gather", [self.constant("words", np.rint(words / step).astype(np.int8)), "input_ids"], "word.q")
        self.node("Gather", [self.constant("words.steps", step), "input_ids"], "word.step")
        self.node("Cast", ["word.q"], "word.unscaled", to=TensorProto.FLOAT)
        return self.node("Mul", ["word.unscaled", "word.step"], "word")

    def norm(self, x: str, residual: str, bias: str, prefix: str, output: str) -> str:
        """Layer norm of ``x + bias + residual``, fused."""
        names = [self.constant(f"{output}.{k}", self.weights[f"{prefix}.LayerNorm.{k}"]) for k in ("weight", "bias")]
        bias = self.constant(f"{output}.input_bias", self.weights[bias])
        return self.node("SkipLayerNormalization", [x, residual, *names, bias], output, _FUSED, epsilon=self.architecture.epsilon)

    def layer(self, x: str, number: int) -> str:
        import numpy as np

        p, a, out = f"encoder.layer.{number}", f"encoder.layer.{number}.attention", f"layer{number}"
        parts = ("query", "key", "value")
        # One product for all three: fewer and larger products are faster.
        qkv = np.concatenate([self.weights[f"{a}.self.{part}.weight"] for part in parts]).T
        qkv_bias = np.concatenate([self.weights[f"{a}.self.{part}.bias"] for part in parts])
        self.linear(x, qkv, f"{out}.qkv")
        split = [f"{out}.{part}" for part in parts]
        self.node("Split", [f"{out}.qkv"], split, axis=-1)
        inputs = [*split, self.constant(f"{out}.qkv_bias", qkv_bias), "mask_int32"]
        if self.architecture.relative:
            inputs.append("distance_bias")
        self.node("MultiHeadAttention", inputs, f"{out}.context", _FUSED, num_heads=self.architecture.heads)
        self.linear(f"{out}.context", self.weights[f"{a}.output.dense.weight"].T, f"{out}.attended")
        y = self.norm(f"{out}.attended", x, f"{a}.output.dense.bias", f"{a}.output", f"{out}.middle")
        self.linear(y, self.weights[f"{p}.intermediate.dense.weight"].T, f"{out}.wide")
        wide_bias = self.constant(f"{out}.wide_bias", self.weights[f"{p}.intermediate.dense.bias"])
        if self.architecture.activation == "relu":
            self.node("Add", [f"{out}.wide", wide_bias], f"{out}.biased")
            self.node("Relu", [f"{out}.biased"], f"{out}.active")
        else:
            # BiasGelu is the erf form, as BERT's; FastGelu the one with tanh.
            gelu = "BiasGelu" if self.architecture.activation == "gelu" else "FastGelu"
            self.node(gelu, [f"{out}.wide", wide_bias], f"{out}.active", _FUSED)
        self.linear(f"{out}.active", self.weights[f"{p}.output.dense.weight"].T, f"{out}.narrow")
        return self.norm(f"{out}.narrow", y, f"{p}.output.dense.bias", f"{p}.output", out)

    def embed(self) -> str:
        """The first layer's input: words and positions, summed and normed."""
        import numpy as np

        words = self.word_embeddings()
        positions = self.weights["embeddings.position_embeddings.weight"]
        # All texts are of segment 0, so its embedding is a constant of the position's.
        if "embeddings.token_type_embeddings.weight" in self.weights:
            positions = positions + self.weights["embeddings.token_type_embeddings.weight"][0]
        table = self.constant("positions", positions)
        self.node("Shape", ["input_ids"], "seq", start=1, end=2)
        if self.architecture.pad_id is None:
            start = self.constant("start", np.array([0], np.int64))
            self.node("Slice", [table, start, "seq", start], "position")
        else:
            self.count_positions(table, self.architecture.pad_id)
        if self.architecture.relative:
            self.distance_bias(len(positions))
        self.node("Add", [words, "position"], "embedded")
        norms = [self.constant(f"embeddings.{k}", self.weights[f"embeddings.LayerNorm.{k}"]) for k in ("weight", "bias")]
        return self.node("LayerNormalization", ["embedded", *norms], "layer_input", axis=-1, epsilon=self.architecture.epsilon)

    def count_positions(self, table: str, pad_id: int) -> None:
        """RoBERTa's: tokens are counted from pad_id + 1 on; a padding token, which a text may spell out, is not and has pad_id."""
        import numpy as np
        from onnx import TensorProto

        pad = self.constant("pad_id", np.int64(pad_id))
        self.node("Equal", ["input_ids", pad], "is_pad")
        self.node("Not", ["is_pad"], "is_token")
        self.node("Cast", ["is_token"], "counts", to=TensorProto.INT64)
        self.node("CumSum", ["counts", self.constant("count_axis", np.int64(1))], "counted")
        self.node("Mul", ["counted", "counts"], "count")
        self.node("Add", ["count", pad], "position_id")
        self.node("Gather", [table, "position_id"], "position")

    def distance_bias(self, most: int) -> None:
        """What attention adds for the distance of two tokens: (1, heads, seq, seq), the same in all layers."""
        import numpy as np

        by_bucket = self.weights["relative"]
        buckets = _buckets(np.arange(1 - most, most), len(by_bucket))
        # A column for every distance, the key's position minus the query's, from 1 - most on.
        table = self.constant("distances", by_bucket[buckets].T)
        self.node("Squeeze", ["seq"], "seq_scalar")
        self.node("Range", [self.constant("zero", np.int64(0)), "seq_scalar", self.constant("step", np.int64(1))], "places")
        self.node("Unsqueeze", ["places", self.constant("row_axis", np.array([0], np.int64))], "key_places")
        self.node("Unsqueeze", ["places", self.constant("column_axis", np.array([1], np.int64))], "query_places")
        self.node("Sub", ["key_places", "query_places"], "distance")
        self.node("Add", ["distance", self.constant("least_distance", np.int64(most - 1))], "column")
        self.node("Gather", [table, "column"], "bias_of_heads", axis=1)
        self.node("Unsqueeze", ["bias_of_heads", "row_axis"], "distance_bias")

    def pool(self, x: str) -> None:
        """The outputs: ``pooled``, one vector of a text's tokens, and ``embedding``, which may be scaled to length 1."""
        import numpy as np
        from onnx import TensorProto

        whole = "pooled" if self.architecture.dim is None else "whole"
        if self.architecture.pooling == "cls":
            self.node("Gather", [x, self.constant("first", np.int64(0))], whole, axis=1)
        else:
            axis = self.constant("seq_axis", np.array([1], np.int64))
            self.node("Cast", ["attention_mask"], "mask_float", to=TensorProto.FLOAT)
            self.node("Unsqueeze", ["mask_float", axis], "mask_row")
            self.node("MatMul", ["mask_row", x], "sum_row")
            self.node("Squeeze", ["sum_row", axis], "sum")
            self.node("ReduceSum", ["mask_float", axis], "length", keepdims=1)
            self.node("Div", ["sum", "length"], whole)
        if self.architecture.dim is not None:
            cut = {"cut_start": 0, "cut_end": self.architecture.dim, "cut_axis": 1}
            self.node("Slice", [whole, *(self.constant(name, np.array([value], np.int64)) for name, value in cut.items())], "pooled")
        if self.architecture.normalize:
            self.node("LpNormalization", ["pooled"], "embedding", axis=-1, p=2)
        else:
            self.node("Identity", ["pooled"], "embedding")


def _buckets(distances: NDArray[np.int64], buckets: int) -> NDArray[np.int64]:
    """Which bucket a distance, the key's position minus the query's, is in: half of them for each direction, the near ones exact, the
    far ones logarithmic. In float32, as models were trained."""
    import numpy as np

    half = buckets // 2
    exact = half // 2
    far = np.abs(distances)
    logarithm = np.log(np.maximum(far, 1).astype(np.float32) / np.float32(exact)) / np.float32(math.log(_FARTHEST / exact))
    bucket = np.where(far < exact, far, np.minimum(exact + (logarithm * np.float32(half - exact)).astype(np.int64), half - 1))
    return bucket + np.where(distances > 0, half, 0)


def write(weights: Weights, architecture: Architecture, precision: Precision, data: Path) -> list[Any]:
    """Write the encoder's graphs, one for every number of layers, and the file of weights that they share.

    Args:
        weights: as ``families.canonical`` gives them.
        architecture: what the weights do not say; ``layers`` is the most.
        precision: ``fp32``, or ``int8`` as this module's head describes it.
        data: the file to write the weights into, which must lie beside the graphs.
    Returns:
        ``onnx.ModelProto`` of 1, 2, ... layers. Inputs: input_ids and attention_mask, int64, (batch, seq). Outputs: embedding and
        pooled, which is embedding before its length was made 1; float32, (batch, dim), row i for input row i. A row's mask must have at
        least one 1.
    """
    from onnx import TensorProto

    with data.open("wb") as file:
        w = _Writer(weights, architecture, precision, file)
        x = w.embed()
        w.node("Cast", ["attention_mask"], "mask_int32", to=TensorProto.INT32)
        ends = []
        for number in range(architecture.layers):
            x = w.layer(x, number)
            ends.append((x, len(w.nodes)))
        encoder, models = w.nodes, []
        for x, end in ends:
            w.nodes = encoder[:end]
            w.pool(x)
            models.append(_model(w))
    return models


def _model(w: _Writer) -> Any:
    from onnx import TensorProto, helper

    dim = w.architecture.dim or w.weights["embeddings.word_embeddings.weight"].shape[1]
    used = {name for node in w.nodes for name in node.input}
    graph = helper.make_graph(
        w.nodes,
        f"encoder-{w.precision}",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"]) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", dim]) for name in ("embedding", "pooled")],
        [tensor for name, tensor in w.constants.items() if name in used],
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="pgembed")
