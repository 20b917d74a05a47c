"""The BERT encoder as an ONNX graph, written straight from its weights: no torch, no exporter.

BERT: Devlin et al. 2018, https://arxiv.org/abs/1810.04805; the pooling is Sentence-BERT's, Reimers and Gurevych 2019,
https://arxiv.org/abs/1908.10084. The graph uses onnxruntime's fused operators (domain com.microsoft) by name, so that
nothing is left for its optimiser to recognise while a backend loads the model.

Two precisions. ``fp32`` is the network as published. ``int8`` does the matrix products in integers: activations get
one scale a token (ZeroQuant, Yao et al. 2022, https://arxiv.org/abs/2206.01861), weights one an output. onnxruntime's
own dynamic quantisation has one scale for the whole batch, which makes a text's vector depend on the texts beside it;
with a scale a token it does not. Weights have 7 bits, because CPUs without VNNI add two 8-bit products in 16 bits and
would saturate: 255 * 63 * 2 < 2**15.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pgembed import errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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


@dataclass(frozen=True)
class Architecture:
    """What a BERT's config.json says and its weights do not.

    ``epsilon`` is the layer norms'; ``pooling`` makes one vector of a text's tokens; ``normalize`` scales it to
    length 1.
    """

    layers: int
    heads: int
    epsilon: float
    pooling: Pooling
    normalize: bool


class _Writer:
    """Collects nodes and constants in the order of the computation; a tensor is known by its name."""

    def __init__(self, weights: Mapping[str, NDArray[np.float32]], precision: Precision) -> None:
        self.weights = weights
        self.precision = precision
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
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

    def weight(self, name: str) -> NDArray[np.float32]:
        if name not in self.weights:
            raise errors.FileDamaged(f'weight "{name}" is missing', hint="Is this a BERT encoder's safetensors file?")
        return self.weights[name]

    def constant(self, name: str, array: Any) -> str:
        import numpy as np
        from onnx import numpy_helper

        array = np.asarray(array)
        # Not ascontiguousarray: it would make a scalar an array of one.
        self.constants.append(numpy_helper.from_array(array.copy(order="C"), name))
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
        words = self.weight("embeddings.word_embeddings.weight")
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

    def norm(self, x: str, residual: str, bias: str, prefix: str, output: str, epsilon: float) -> str:
        """Layer norm of ``x + bias + residual``, fused."""
        names = [self.constant(f"{output}.{k}", self.weight(f"{prefix}.LayerNorm.{k}")) for k in ("weight", "bias")]
        bias = self.constant(f"{output}.input_bias", self.weight(bias))
        return self.node("SkipLayerNormalization", [x, residual, *names, bias], output, _FUSED, epsilon=epsilon)

    def layer(self, x: str, number: int, architecture: Architecture) -> str:
        import numpy as np

        p, a, out = f"encoder.layer.{number}", f"encoder.layer.{number}.attention", f"layer{number}"
        parts = ("query", "key", "value")
        # One product for all three: fewer and larger products are faster.
        qkv = np.concatenate([self.weight(f"{a}.self.{part}.weight") for part in parts]).T
        qkv_bias = np.concatenate([self.weight(f"{a}.self.{part}.bias") for part in parts])
        self.linear(x, qkv, f"{out}.qkv")
        split = [f"{out}.{part}" for part in parts]
        self.node("Split", [f"{out}.qkv"], split, axis=-1)
        inputs = [*split, self.constant(f"{out}.qkv_bias", qkv_bias), "mask_int32"]
        self.node("MultiHeadAttention", inputs, f"{out}.context", _FUSED, num_heads=architecture.heads)
        self.linear(f"{out}.context", self.weight(f"{a}.output.dense.weight").T, f"{out}.attended")
        epsilon = architecture.epsilon
        y = self.norm(f"{out}.attended", x, f"{a}.output.dense.bias", f"{a}.output", f"{out}.middle", epsilon)
        self.linear(y, self.weight(f"{p}.intermediate.dense.weight").T, f"{out}.wide")
        wide_bias = self.constant(f"{out}.wide_bias", self.weight(f"{p}.intermediate.dense.bias"))
        self.node("BiasGelu", [f"{out}.wide", wide_bias], f"{out}.active", _FUSED)  # the erf form, as BERT's
        self.linear(f"{out}.active", self.weight(f"{p}.output.dense.weight").T, f"{out}.narrow")
        return self.norm(f"{out}.narrow", y, f"{p}.output.dense.bias", f"{p}.output", out, epsilon)

    def pool(self, x: str, architecture: Architecture) -> None:
        import numpy as np
        from onnx import TensorProto

        pooled = "pooled" if architecture.normalize else "embedding"
        if architecture.pooling == "cls":
            self.node("Gather", [x, self.constant("first", np.int64(0))], pooled, axis=1)
        else:
            axis = self.constant("seq_axis", np.array([1], np.int64))
            self.node("Cast", ["attention_mask"], "mask_float", to=TensorProto.FLOAT)
            self.node("Unsqueeze", ["mask_float", axis], "mask_row")
            self.node("MatMul", ["mask_row", x], "sum_row")
            self.node("Squeeze", ["sum_row", axis], "sum")
            self.node("ReduceSum", ["mask_float", axis], "length", keepdims=1)
            self.node("Div", ["sum", "length"], pooled)
        if architecture.normalize:
            self.node("LpNormalization", [pooled], "embedding", axis=-1, p=2)


def bert(weights: Mapping[str, NDArray[np.float32]], architecture: Architecture, precision: Precision) -> Any:
    """Write the encoder's graph.

    Args:
        weights: float32, under the names of a Hugging Face BertModel (without the ``bert.`` prefix); a pooler is not
            used.
        architecture: what the weights do not say.
        precision: ``fp32``, or ``int8`` as this module's head describes it.
    Returns:
        An ``onnx.ModelProto``. Inputs: input_ids and attention_mask, int64, (batch, seq). Output: embedding, float32,
        (batch, dim), row i for input row i. A row's mask must have at least one 1.
    Raises:
        FileDamaged: a weight is missing.
    """
    import numpy as np
    from onnx import TensorProto, helper

    w = _Writer(weights, precision)
    words = w.word_embeddings()
    # All texts are of segment 0, so its embedding is a constant of the position's.
    positions = w.weight("embeddings.position_embeddings.weight") + w.weight("embeddings.token_type_embeddings.weight")[0]
    start = w.constant("start", np.array([0], np.int64))
    w.node("Shape", ["input_ids"], "seq", start=1, end=2)
    w.node("Slice", [w.constant("positions", positions), start, "seq", start], "position")
    w.node("Add", [words, "position"], "embedded")
    norms = [w.constant(f"embeddings.{k}", w.weight(f"embeddings.LayerNorm.{k}")) for k in ("weight", "bias")]
    x = w.node("LayerNormalization", ["embedded", *norms], "layer_input", axis=-1, epsilon=architecture.epsilon)
    w.node("Cast", ["attention_mask"], "mask_int32", to=TensorProto.INT32)
    for number in range(architecture.layers):
        x = w.layer(x, number, architecture)
    w.pool(x, architecture)

    shape = ["batch", "seq"]
    graph = helper.make_graph(
        w.nodes,
        f"bert-{precision}",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", int(positions.shape[1])])],
        w.constants,
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION, producer_name="pgembed")
