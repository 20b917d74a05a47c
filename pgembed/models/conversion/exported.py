"""exported: an encoder that comes as an ONNX file, given the inputs and outputs that ``transformer`` expects.

Most sentence-transformers repositories have ``onnx/model.onnx``, written by optimum or by torch. Such a file ends in the tokens' last
hidden states or in a vector already pooled; pooling and normalisation as modules.json says are appended to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pgembed import errors
from pgembed.models.conversion import weights
from pgembed.models.conversion.graph import Pooling

PLACES = ("onnx/model.onnx", "model.onnx")
_TOKENS = ("last_hidden_state", "token_embeddings")
_POOLED = "sentence_embedding"
_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
_OURS = ("embedding", "pooled")
_HINT = "Export the model with optimum: optimum-cli export onnx --model FOLDER --task feature-extraction OUT."


def graph_of(folder: Path) -> Path | None:
    """The ONNX file of a folder; None where there is none."""
    return next((folder / place for place in PLACES if (folder / place).is_file()), None)


def files_of(path: Path) -> tuple[Path, ...]:
    """The ONNX file and the files of weights that it names, in order.

    Raises:
        FileMissing, FileDamaged: one of them is not there, or the graph is not one.
    """
    named = {entry.value for tensor in _open(path).graph.initializer for entry in tensor.external_data if entry.key == "location"}
    beside = tuple(path.parent / Path(name).name for name in sorted(named))
    for file in beside:
        if not file.is_file():
            raise errors.FileMissing(f'file "{file}" does not exist, and "{path.name}" names it', hint="Fetch the model again.")
    return (path, *beside)


def write(path: Path, work: Path, pooling: Pooling, normalize: bool, dim: int | None) -> int:
    """Write ``model.onnx`` and ``model.onnx.data`` into ``work``.

    Args:
        path: the exported file.
        pooling: as modules.json says; not used where the file pools by itself.
        normalize: scale the vector to length 1.
        dim: how many leading dimensions to keep; None for all.
    Returns:
        How many dimensions the file says its vectors have, before any were cut off.
    Raises:
        FileDamaged: it is not a graph, or a weight is NaN or infinite.
        NotSupported: its inputs or outputs are not an encoder's, or its vectors depend on the texts beside them.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = _open(path)
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # of many classes, by version
        raise errors.FileDamaged(
            f'the weights of "{path}" can\'t be read', detail=str(error)[:500], hint="Fetch the model again."
        ) from None
    graph = model.graph
    _check(path, graph)
    for tensor in graph.initializer:
        if tensor.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
            weights.check_finite(tensor.name, numpy_helper.to_array(tensor))
    outputs = {output.name: output for output in graph.output}
    source = next((outputs[name] for name in (*_TOKENS, _POOLED) if name in outputs), None)
    if source is None:
        raise errors.NotSupported(
            f"outputs of {path.name} are {', '.join(outputs)}, expected {' or '.join((*_TOKENS, _POOLED))}", hint=_HINT
        )
    width = source.type.tensor_type.shape.dim[-1].dim_value if source.type.tensor_type.HasField("shape") else 0

    before = []
    if any(given.name == "token_type_ids" for given in graph.input):
        # All texts are of segment 0.
        before.append(helper.make_node("Sub", ["input_ids", "input_ids"], ["token_type_ids"], name="pgembed/segments"))
    after = [helper.make_node("Cast", [source.name], ["pgembed/values"], to=TensorProto.FLOAT)]
    if source.name in _TOKENS:
        after += _pooling("pgembed/values", pooling)
    else:
        after.append(helper.make_node("Identity", ["pgembed/values"], ["pgembed/whole"]))
    after += _ending(normalize, dim)
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.input[:]
    graph.input.extend(helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"]) for name in ("input_ids", "attention_mask"))
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "dim"]) for name in _OURS)
    graph.initializer.extend(_constants(dim))
    onnx.save(model, str(work / "model.onnx"), save_as_external_data=True, location="model.onnx.data", size_threshold=1024)
    return int(width)


def _open(path: Path) -> Any:
    import onnx

    try:
        return onnx.load(str(path), load_external_data=False)
    except Exception as error:  # of many classes, by version
        raise errors.FileDamaged(f'file "{path}" is not an ONNX model', detail=str(error)[:500], hint="Fetch the model again.") from None


def _check(path: Path, graph: Any) -> None:
    """Refuse a graph that could not be fed, or whose vectors would depend on their batch."""
    from onnx import TensorProto

    inputs = {given.name: given.type.tensor_type.elem_type for given in graph.input}
    unknown = sorted(set(inputs) - _INPUTS - {tensor.name for tensor in graph.initializer})
    if unknown or "input_ids" not in inputs:
        raise errors.NotSupported(f"inputs of {path.name} are {', '.join(inputs)}, expected {', '.join(sorted(_INPUTS))}", hint=_HINT)
    if any(inputs.get(name, TensorProto.INT64) != TensorProto.INT64 for name in _INPUTS):
        raise errors.NotSupported(f'inputs of "{path.name}" have another type than int64', hint=_HINT)
    if any(node.op_type == "DynamicQuantizeLinear" for node in graph.node):
        raise errors.NotSupported(
            f'"{path.name}" is quantised with one scale for a whole batch, so that a vector would depend on the texts beside its own',
            hint="Take the fp32 file; int8 is made of safetensors with --precision int8.",
        )
    taken = {name for node in graph.node for name in node.output} & set(_OURS)
    if taken:
        raise errors.NotSupported(f"{path.name} has a tensor of its own called {' and '.join(sorted(taken))}", hint=_HINT)


def _pooling(x: str, pooling: Pooling) -> list[Any]:
    """Nodes that make ``pgembed/whole``; only operators that have been the same in all versions of ONNX since 2017."""
    from onnx import TensorProto, helper

    if pooling == "cls":
        return [helper.make_node("Gather", [x, "pgembed/first"], ["pgembed/whole"], axis=1)]
    return [
        helper.make_node("Cast", ["attention_mask"], ["pgembed/mask"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pgembed/mask", "pgembed/as_row"], ["pgembed/row"]),
        helper.make_node("Reshape", ["pgembed/mask", "pgembed/as_column"], ["pgembed/column"]),
        helper.make_node("MatMul", ["pgembed/row", x], ["pgembed/sum_row"]),
        helper.make_node("MatMul", ["pgembed/row", "pgembed/column"], ["pgembed/length_row"]),
        helper.make_node("Div", ["pgembed/sum_row", "pgembed/length_row"], ["pgembed/mean_row"]),
        helper.make_node("Reshape", ["pgembed/mean_row", "pgembed/as_vector"], ["pgembed/whole"]),
    ]


def _ending(normalize: bool, dim: int | None) -> list[Any]:
    from onnx import helper

    cut = (
        helper.make_node("Identity", ["pgembed/whole"], ["pooled"])
        if dim is None
        else helper.make_node("Gather", ["pgembed/whole", "pgembed/kept"], ["pooled"], axis=1)
    )
    scaled = (
        helper.make_node("LpNormalization", ["pooled"], ["embedding"], axis=-1, p=2)
        if normalize
        else helper.make_node("Identity", ["pooled"], ["embedding"])
    )
    return [cut, scaled]


def _constants(dim: int | None) -> list[Any]:
    import numpy as np
    from onnx import numpy_helper

    values = {"first": np.int64(0), "as_row": np.array([0, 1, -1]), "as_column": np.array([0, -1, 1]), "as_vector": np.array([0, -1])}
    if dim is not None:
        values["kept"] = np.arange(dim)
    return [numpy_helper.from_array(np.asarray(value, np.int64), f"pgembed/{name}") for name, value in values.items()]
