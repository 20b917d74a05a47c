"""The graph against each family written in numpy, in both precisions, at every depth."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pgembed import models

np = pytest.importorskip("numpy")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")
pytest.importorskip("safetensors")

from small_models import (  # noqa: E402  (it imports numpy)
    DIM,
    LAYERS,
    PAD,
    POSITIONS,
    VOCABULARY,
    bucket,
    change_json,
    hidden_states,
    save_weights,
    weights_of,
    write_folder,
    write_json,
)

from pgembed.models.conversion import convert, graph  # noqa: E402
from pgembed.models.transformer import Transformer  # noqa: E402

FAMILIES = {"bert": "", "roberta": "roberta.", "xlm-roberta": "", "distilbert": "distilbert.", "mpnet": "mpnet."}
TOLERANCE = {"fp32": 1e-5, "int8": 0.1}


def install(folder: Path, target: Path, precision: Any = "fp32") -> tuple[models.ModelInfo, Path]:
    read = convert.read_folder(folder)
    info = convert.convert(read, target, name="small", precision=precision, source="", revision="", report=print)
    return info, target / "small" / "current"


def sequences(family: str) -> list[list[int]]:
    """Token sequences of one, some, and as many tokens as there are positions."""
    rng = np.random.default_rng(1)
    most = POSITIONS[family] - (0 if family in ("bert", "distilbert") else PAD + 1)
    drawn = [rng.integers(2, VOCABULARY, n).tolist() for n in (1, 2, 7, most)]
    # A text may spell out the padding token; it is attended to, and counts for no position where positions are counted from it.
    return [*drawn, [2, 5, PAD, 6, PAD, PAD, 7, 3]]


def close(found: Any, expected: Any, tolerance: float) -> bool:
    return bool(np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_computes_the_family(tmp_path: Path, family: str, precision: str) -> None:
    info, place = install(write_folder(tmp_path / "source", family, FAMILIES[family]), tmp_path / "models", precision)
    model = Transformer(info, place)
    for ids in sequences(family):
        expected = hidden_states(family, weights_of(family), ids).mean(0)
        assert close(model.pool(np.array([ids]))[0], expected, TOLERANCE[precision])


@pytest.mark.parametrize("layers", range(1, LAYERS))
@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_a_cut_graph_computes_the_first_layers(tmp_path: Path, family: str, layers: int) -> None:
    info, place = install(write_folder(tmp_path / "source", family), tmp_path / "models")
    model = Transformer(dataclasses.replace(info, layers=layers), place)
    for ids in sequences(family):
        expected = hidden_states(family, weights_of(family), ids, layers).mean(0)
        assert close(model.pool(np.array([ids]))[0], expected, 1e-5)
        assert not close(model.pool(np.array([ids]))[0], hidden_states(family, weights_of(family), ids).mean(0), 1e-2)


def test_graphs_of_all_depths_share_their_weights(tmp_path: Path) -> None:
    """The file of weights has every matrix once, and once more as the CPU's kernels read it."""
    folder = write_folder(tmp_path / "source")
    _, place = install(folder, tmp_path / "models")
    files = sorted(path.name for path in place.iterdir())
    assert files == [
        "model-1.onnx",
        "model-2.onnx",
        "model.json",
        "model.onnx",
        "model.onnx.data",
        "tokenizer.json",
        "tokens.json",
        "words.bin",
    ]
    import onnx

    whole, cut = (onnx.load(place / name, load_external_data=False).graph for name in ("model.onnx", "model-1.onnx"))
    places = {tensor.name: [(e.key, e.value) for e in tensor.external_data] for tensor in whole.initializer}
    assert all(places[tensor.name] == [(e.key, e.value) for e in tensor.external_data] for tensor in cut.initializer)
    assert 0 < sum(len(entries) > 0 for entries in places.values()) > sum(len(tensor.external_data) > 0 for tensor in cut.initializer)


@pytest.mark.parametrize(("activation", "computed"), [("gelu_new", "gelu_new"), ("gelu_pytorch_tanh", "gelu_new"), ("relu", "relu")])
def test_other_activations(tmp_path: Path, activation: str, computed: str) -> None:
    folder = write_folder(tmp_path / "source")
    change_json(folder / "config.json", hidden_act=activation)
    info, place = install(folder, tmp_path / "models")
    ids = sequences("bert")[3]
    found = Transformer(info, place).pool(np.array([ids]))[0]
    assert close(found, hidden_states("bert", weights_of("bert"), ids, activation=computed).mean(0), 1e-5)
    # The two forms of gelu differ by so much that taking one for the other would be seen.
    assert not close(found, hidden_states("bert", weights_of("bert"), ids, activation="gelu").mean(0), 3e-5)


def test_mpnet_puts_distances_into_the_buckets_of_its_paper() -> None:
    distances = np.arange(-511, 512)
    assert graph._buckets(distances, 32).tolist() == [bucket(int(distance)) for distance in distances]


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("dim", [None, 5])
def test_pooling_cutting_and_normalisation(tmp_path: Path, pooling: str, normalize: bool, dim: int | None) -> None:
    folder = write_folder(tmp_path / "source")
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode": pooling})
    if not normalize:
        write_json(folder / "modules.json", json.loads((folder / "modules.json").read_text())[:2])
    read = convert.read_folder(folder)
    options = models.Options(dim=dim)
    info = convert.convert(read, tmp_path, name="m", precision="fp32", source="", revision="", report=print, options=options)
    model = Transformer(info, tmp_path / "m" / "current")
    hidden = hidden_states("bert", weights_of("bert"), [2, 4, 5, 6, 3])
    pooled = (hidden.mean(0) if pooling == "mean" else hidden[0])[:dim]
    assert (info.dim, info.normalized) == (dim or DIM, normalize)
    assert close(model.pool(np.array([[2, 4, 5, 6, 3]]))[0], pooled, 1e-5)
    assert close(model.encode(["a b c"]).vectors[0], pooled / np.linalg.norm(pooled) if normalize else pooled, 1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_vector_does_not_depend_on_its_batch(tmp_path: Path, family: str, precision: str) -> None:
    info, place = install(write_folder(tmp_path / "source", family), tmp_path / "models", precision)
    model = Transformer(info, place)
    ids = np.random.default_rng(2).integers(2, VOCABULARY, (9, 11))
    together = model.pool(ids)
    assert (np.concatenate([model.pool(ids[i : i + 1]) for i in range(9)]) == together).all()  # bit for bit


def test_a_bias_of_another_number_of_heads_is_refused(tmp_path: Path) -> None:
    from pgembed import errors

    folder = write_folder(tmp_path / "source", "mpnet")
    save_weights(folder, weights_of("mpnet") | {"encoder.relative_attention_bias.weight": np.ones((32, 3), np.float32)})
    with pytest.raises(errors.FileDamaged, match=r"relative_attention_bias.*shape \(32, 3\), expected \(any, 4\)"):
        install(folder, tmp_path / "models")
