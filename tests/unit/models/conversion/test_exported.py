"""Adding a folder with an exported ONNX graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pgembed import errors, models

np = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from small_models import (  # noqa: E402  (it needs what is looked for above)
    DIM,
    VOCABULARY,
    add,
    change_json,
    opened,
    refused,
    save_weights,
    weights_of,
    write_json,
)


def export(folder: Path, output: str = "last_hidden_state", opset: int = 17, kind: int = 1, **changes: Any) -> Any:
    """Put an ONNX file into a folder in place of safetensors: a token's vector is its word's; segments would be added if there were any."""
    from onnx import TensorProto, helper, numpy_helper

    words = weights_of("bert")["embeddings.word_embeddings.weight"].astype(np.float16 if kind == TensorProto.FLOAT16 else np.float32)
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["word"]),
        helper.make_node("Cast", ["token_type_ids"], ["segment"], to=kind),
        helper.make_node("Reshape", ["segment", "column"], ["segment_column"]),
        helper.make_node("Add", ["word", "segment_column"], ["hidden"]),
    ]
    if output == "sentence_embedding":
        nodes.append(helper.make_node("ReduceMean", ["hidden"], [output], axes=[1], keepdims=0))
    else:
        nodes.append(helper.make_node("Identity", ["hidden"], [output]))
    shape = ["batch", "seq"]
    names = changes.get("inputs", ("input_ids", "attention_mask", "token_type_ids"))
    graph = helper.make_graph(
        nodes,
        "export",
        [helper.make_tensor_value_info(name, changes.get("input_type", TensorProto.INT64), shape) for name in names],
        [helper.make_tensor_value_info(output, kind, ["batch", DIM] if output == "sentence_embedding" else [*shape, DIM])],
        [numpy_helper.from_array(words, "words"), numpy_helper.from_array(np.array([0, -1, 1]), "column")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    (folder / "onnx").mkdir(exist_ok=True)
    onnx.save(model, folder / "onnx" / "model.onnx", **changes.get("saving", {}))
    (folder / "model.safetensors").unlink(missing_ok=True)
    return words.astype(np.float64)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("output", ["last_hidden_state", "token_embeddings", "sentence_embedding"])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_an_exported_graph_is_pooled_and_normalised(folder: Path, target: Path, output: str, opset: int, pooling: str) -> None:
    words = export(folder, output, opset)
    write_json(
        folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": pooling == "cls", "pooling_mode_mean_tokens": pooling == "mean"}
    )
    info = add(folder, target)
    assert (info.layers, info.dim, info.normalized, info.precision) == (0, DIM, True, "fp32")
    ids = [2, 4, 5, 6, 3]
    expected = words[2] if pooling == "cls" and output != "sentence_embedding" else words[ids].mean(0)
    model = opened(info, target)
    assert np.abs(model.pool(np.array([ids, ids[::-1]]))[0] - expected).max() < 1e-5
    assert np.abs(model.encode(["a b c"]).vectors[0] - expected / np.linalg.norm(expected)).max() < 1e-5


def test_an_exported_graph_is_cut_to_dim(folder: Path, target: Path) -> None:
    words = export(folder)
    info = add(folder, target, options=models.Options(dim=6))
    expected = words[[2, 4, 3]].mean(0)[:6]
    assert np.abs(opened(info, target).encode(["a"]).vectors[0] - expected / np.linalg.norm(expected)).max() < 1e-5
    with pytest.raises(errors.NotSupported, match="has no layers"):
        add(folder, target, options=models.Options(layers=1))


def test_an_exported_graph_may_have_half_precision_and_weights_of_its_own(folder: Path, target: Path) -> None:
    saving = {"save_as_external_data": True, "location": "model.onnx_data", "size_threshold": 100}
    words = export(folder, kind=onnx.TensorProto.FLOAT16, saving=saving)
    first = add(folder, target)
    assert np.abs(opened(first, target).pool(np.array([[4, 5]]))[0] - words[[4, 5]].mean(0)).max() < 1e-2
    data = folder / "onnx" / "model.onnx_data"
    data.write_bytes(data.read_bytes()[:-1] + b"\x01")
    assert add(folder, target).fingerprint != first.fingerprint
    data.unlink()
    with pytest.raises(errors.FileMissing, match=r"model\.onnx_data"):
        add(folder, target)


def test_safetensors_are_taken_before_an_exported_graph(folder: Path, target: Path) -> None:
    export(folder)
    save_weights(folder, weights_of("bert"))
    assert add(folder, target).layers == 3
    # But not of a network that is not known here.
    change_json(folder / "config.json", model_type="electra")
    assert add(folder, target).layers == 0


def test_an_exported_graph_has_no_int8(folder: Path, target: Path) -> None:
    export(folder)
    error = refused(errors.NotSupported, "int8 is made of model.safetensors", folder, target, precision="int8")
    assert "fp32" in str(error.hint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ("input_ids", "attention_mask", "token_type_ids", "position_ids")}, "inputs of model.onnx are .*position_ids"),
        ({"inputs": ("ids", "attention_mask", "token_type_ids")}, "inputs of model.onnx are ids"),
        ({"output": "logits"}, "outputs of model.onnx are logits"),
        ({"output": "pooled"}, "outputs|a tensor of its own"),
    ],
)
def test_a_graph_that_is_no_encoder_is_refused(folder: Path, target: Path, changes: dict[str, Any], message: str) -> None:
    export(folder, **changes)
    assert "optimum" in str(refused(errors.NotSupported, message, folder, target).hint)


def test_a_graph_that_scales_whole_batches_is_refused(folder: Path, target: Path) -> None:
    export(folder)
    model = onnx.load(folder / "onnx" / "model.onnx")
    model.graph.node.append(onnx.helper.make_node("DynamicQuantizeLinear", ["hidden"], ["q", "scale", "zero"]))
    onnx.save(model, folder / "onnx" / "model.onnx")
    refused(errors.NotSupported, "one scale for a whole batch", folder, target)


def test_a_graph_that_is_none_is_refused(folder: Path, target: Path) -> None:
    export(folder)
    (folder / "onnx" / "model.onnx").write_bytes(b"no graph at all")
    refused(errors.FileDamaged, "is not an ONNX model", folder, target)


def test_a_graph_of_another_width_than_config_says_is_refused(folder: Path, target: Path) -> None:
    export(folder)
    change_json(folder / "config.json", hidden_size=48)
    refused(errors.FileDamaged, f"vectors have {DIM} dimensions, expected 48", folder, target)


def test_nan_in_an_exported_graph_is_refused(folder: Path, target: Path) -> None:
    export(folder)
    model = onnx.load(folder / "onnx" / "model.onnx")
    words = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    words[9, 9] = np.nan
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(words, "words"))
    onnx.save(model, folder / "onnx" / "model.onnx")
    refused(errors.FileDamaged, f'weight "words" has 1 of {VOCABULARY * DIM} numbers that are NaN', folder, target)
