"""Adding a folder of any kind: what is read from it, and what is refused before anything is written."""

from __future__ import annotations

import json
import struct
import sys
import types
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
    add,
    change_json,
    config_of,
    hidden_states,
    opened,
    refused,
    save_weights,
    weights_of,
    write_folder,
    write_json,
)

from pgembed.models import adding  # noqa: E402

# What is read


def test_prompts_are_those_of_the_folder_unless_others_are_given(folder: Path, target: Path) -> None:
    plain = add(folder, target)
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "q: ", "passage": "p: "}, "default_prompt_name": None})
    info = add(folder, target)
    assert (info.query_prompt, info.document_prompt) == ("q: ", "p: ")
    info = add(folder, target, options=models.Options(query_prompt="other: "))
    assert (info.query_prompt, info.document_prompt) == ("other: ", "p: ")
    assert add(folder, target, options=models.Options(query_prompt="", document_prompt="")).fingerprint == plain.fingerprint
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "q: ", "x": "x: "}, "default_prompt_name": "x"})
    info = add(folder, target)
    assert (info.query_prompt, info.document_prompt) == ("q: ", "x: ")


def test_prompts_from_the_folder_and_from_options_make_one_fingerprint(folder: Path, target: Path) -> None:
    given = add(folder, target, options=models.Options(query_prompt="q: "))
    write_json(folder / "config_sentence_transformers.json", {"prompts": {"query": "q: "}})
    assert add(folder, target).fingerprint == given.fingerprint


def test_shards_are_read_like_one_file(folder: Path, target: Path) -> None:
    from safetensors.numpy import save_file

    expected = opened(add(folder, target), target).encode(["a b"]).vectors
    weights = weights_of("bert")
    names = sorted(weights)
    for number, part in enumerate((names[:9], names[9:]), 1):
        save_file({name: weights[name] for name in part}, folder / f"model-{number}.safetensors")
    index = {name: f"model-{1 if name in names[:9] else 2}.safetensors" for name in names}
    write_json(folder / "model.safetensors.index.json", {"weight_map": index})
    (folder / "model.safetensors").unlink()
    assert (opened(add(folder, target), target).encode(["a b"]).vectors == expected).all()
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(errors.FileMissing, match=r"model-2\.safetensors"):
        add(folder, target)


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_half_precision_is_read_as_float32(folder: Path, target: Path, kind: str) -> None:
    if kind == "F16":
        halves = {name: array.astype(np.float16) for name, array in weights_of("bert").items()}
        rounded = {name: array.astype(np.float32) for name, array in halves.items()}
        save_weights(folder, halves)
    else:
        # The upper 16 bits of each float32; numpy and safetensors have no type for it.
        words = {name: array.view(np.uint32) >> 16 for name, array in weights_of("bert").items()}
        rounded = {name: (array << 16).view(np.float32) for name, array in words.items()}
        header, blob = {}, b""
        for name, array in words.items():
            raw = array.astype("<u2").tobytes()
            header[name] = {"dtype": "BF16", "shape": array.shape, "data_offsets": [len(blob), len(blob) + len(raw)]}
            blob += raw
        text = json.dumps(header).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + blob)
    expected = hidden_states("bert", rounded, [2, 4, 5, 3]).mean(0)
    found = opened(add(folder, target), target).pool(np.array([[2, 4, 5, 3]]))[0]
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(found - hidden_states("bert", weights_of("bert"), [2, 4, 5, 3]).mean(0)).max() > 1e-4


def test_old_names_of_layer_norms_are_read(folder: Path, target: Path) -> None:
    expected = opened(add(folder, target), target).encode(["a b"]).vectors
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
        for name, array in weights_of("bert", "bert.").items()
    }
    save_weights(folder, renamed)
    assert (opened(add(folder, target), target).encode(["a b"]).vectors == expected).all()


def test_the_limit_of_tokens_is_the_least_that_anybody_says(folder: Path, target: Path) -> None:
    assert add(folder, target).max_tokens == 12
    change_json(folder / "sentence_bert_config.json", max_seq_length=1000)
    assert add(folder, target).max_tokens == 16
    (folder / "sentence_bert_config.json").unlink()
    assert add(folder, target).max_tokens == 16
    write_json(folder / "tokenizer_config.json", {"model_max_length": 9})
    assert add(folder, target).max_tokens == 9
    write_json(folder / "tokenizer_config.json", {"model_max_length": 10**30})
    assert add(folder, target).max_tokens == 16
    write_folder(folder, "roberta")
    (folder / "sentence_bert_config.json").unlink()
    # Two of the 18 positions are before the first token's.
    assert add(folder, target).max_tokens == 16


def test_other_tokenizers_get_their_own_special_tokens(folder: Path, target: Path) -> None:
    """None, only one before the text, and two behind it; with the text's own tokens between them."""
    text = "a b"
    for template, before, after in (("$0", [], []), ("[CLS] $0", [2], []), ("[CLS] $0 [SEP] [SEP]", [2], [3, 3])):
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        specials = [("[CLS]", 2), ("[SEP]", 3)]
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(single=template, special_tokens=specials)
        tokenizer.save(str(folder / "tokenizer.json"))
        model = opened(add(folder, target), target)
        assert model.special_tokens == (before, after)
        expected = hidden_states("bert", weights_of("bert"), [*before, 4, 5, *after]).mean(0)
        vectors = model.encode([text, ""]).vectors
        assert np.abs(vectors[0] - expected / np.linalg.norm(expected)).max() < 1e-5
        assert np.isfinite(vectors).all()
        # As many words as are read, and one more.
        room = 12 - len(before) - len(after)
        assert model.encode(["a " * room, "a " * (room + 1)]).truncated.tolist() == [False, True]
        assert model.token_count(text) == 2 + len(before) + len(after)
        assert json.loads(model.tokenizer_json)["truncation"] is None


def test_a_unigram_tokenizer_is_read_as_it_is(tmp_path: Path, target: Path) -> None:
    """As XLM-RoBERTa's: blanks are marks of the tokenizer's own, long texts are tokenised whole."""
    folder = write_folder(tmp_path / "xlm", "xlm-roberta")
    pieces = [
        ("<s>", 0.0),
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        ("\u2581", -3.0),
        *((letter, -2.0) for letter in "abc"),
        ("\u2581ab", -2.5),
    ]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $0 </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.save(str(folder / "tokenizer.json"))
    model = opened(add(folder, target), target)
    ids = [0, 8, 4, 7, 5, 2]  # <s> _ab _ c a </s>
    expected = hidden_states("xlm-roberta", weights_of("xlm-roberta"), ids).mean(0)
    assert np.abs(model.encode(["ab ca"]).vectors[0] - expected / np.linalg.norm(expected)).max() < 1e-5
    assert model.special_tokens == ([0], [2])
    assert ["ab ca"[start:end].strip() for start, end in model.token_spans("ab ca")][-2:] == ["c", "a"]
    encoded = model.encode(["ab " * 9 + "ab", "ab " * 10_000])
    assert encoded.truncated.tolist() == [False, True]
    assert (encoded.vectors[0] == encoded.vectors[1]).all()


def test_a_static_model_is_recognised(tmp_path: Path, target: Path) -> None:
    folder = write_folder(tmp_path / "static")
    for name in ("modules.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    write_json(folder / "config.json", {"model_type": "model2vec", "normalize": False})
    table = np.random.default_rng(4).standard_normal((13, 6)).astype(np.float32)
    save_weights(folder, {"embeddings": table})
    info = add(folder, target)
    assert (info.kind, info.dim) == ("static", 6)
    with pytest.raises(errors.NotSupported, match="a static model has no precision int8"):
        add(folder, target, precision="int8")


def test_a_package_that_is_missing_is_named(folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "convert" in str(refused(errors.NotReady, "package onnx is not installed", folder, target).hint)


# What is refused


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, target: Path, file: str) -> None:
    (folder / file).unlink()
    error = refused(errors.FileMissing, file.replace(".", r"\."), folder, target)
    assert error.sqlstate == "58P01"
    assert error.hint


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
@pytest.mark.parametrize("content", ['{"cut": [1, 2', "[1, 2]", "3", "\xff"])
def test_a_broken_json_file_is_named(folder: Path, target: Path, file: str, content: str) -> None:
    (folder / file).write_bytes(content.encode("latin-1"))
    refused(errors.FileDamaged, file.replace(".", r"\."), folder, target)


@pytest.mark.parametrize("kept", [0, 4, 200, -1])
def test_truncated_weights_are_refused(folder: Path, target: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    assert refused(errors.FileDamaged, "is not a whole safetensors file", folder, target).sqlstate == "F0000"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(folder: Path, target: Path, value: float) -> None:
    weights = weights_of("bert")
    weights["encoder.layer.1.output.dense.weight"][3, 5] = value
    save_weights(folder, weights)
    refused(errors.FileDamaged, r'"encoder\.layer\.1\.output\.dense\.weight" has 1 of \d+ numbers that are NaN or infinite', folder, target)


@pytest.mark.parametrize(
    ("family", "name"), [("bert", "encoder.layer.1.output.dense.weight"), ("distilbert", "transformer.layer.2.ffn.lin1.bias")]
)
def test_a_missing_weight_is_named(folder: Path, target: Path, family: str, name: str) -> None:
    write_folder(folder, family)
    weights = weights_of(family)
    del weights[name]
    save_weights(folder, weights)
    refused(errors.FileDamaged, f'weight "{name}" is missing'.replace(".", r"\."), folder, target)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 2}, "the weights have 3 layers, expected 2"),
        ({"num_hidden_layers": 4}, r'"encoder\.layer\.3\.attention\.self\.query\.weight" is missing'),
        ({"hidden_size": 16}, r"has shape \(20, 32\), expected \(20, 16\)"),
        ({"intermediate_size": 65}, r"has shape \(64, 32\), expected \(65, 32\)"),
        ({"vocab_size": 30}, r"has shape \(20, 32\), expected \(30, 32\)"),
        ({"vocab_size": 8}, "the tokenizer's largest number is 12, and config.json has a vocabulary of 8"),
        ({"max_position_embeddings": 512}, r"has shape \(16, 32\), expected \(512, 32\)"),
        ({"num_attention_heads": 5}, "a width of 32 and 5 heads"),
        ({"num_attention_heads": 0}, "num_attention_heads of config.json is 0"),
        ({"hidden_size": "32"}, "hidden_size of config.json is '32'"),
        ({"layer_norm_eps": -1.0}, "layer_norm_eps of config.json is -1.0"),
    ],
)
def test_weights_that_do_not_match_the_config_are_refused(folder: Path, target: Path, changes: dict[str, Any], message: str) -> None:
    change_json(folder / "config.json", **changes)
    refused(errors.FileDamaged, message, folder, target)


def test_a_tokenizer_larger_than_the_table_of_words_is_refused(folder: Path, target: Path) -> None:
    """Where config.json does not say how many words there are, running the model shows it."""
    write_json(folder / "config.json", {key: value for key, value in config_of("bert").items() if key != "vocab_size"})
    weights = weights_of("bert")
    weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][:12]
    save_weights(folder, weights)
    refused(errors.FileDamaged, "could not be run", folder, target)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("config.json", {"model_type": "electra"}, "model_type of config.json must be one of bert, .*not 'electra'"),
        ("config.json", {"model_type": None}, "not None"),
        ("config.json", {"hidden_act": "silu"}, "hidden_act of config.json must be one of gelu, .*not 'silu'"),
        ("config.json", {"position_embedding_type": "relative_key"}, "position_embedding_type must be 'absolute'"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "do_lower_case"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_max_tokens": True},
            "the pooling mode must be mean or cls, not mean_tokens and max_tokens",
        ),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": False}, "must be mean or cls, not none"),
    ],
)
def test_what_is_not_provided_is_refused(folder: Path, target: Path, file: str, changes: dict[str, Any], message: str) -> None:
    change_json(folder / file, **changes)
    error = refused(errors.NotSupported, message, folder, target)
    assert error.sqlstate == "0A000"
    assert error.hint


def test_a_dense_module_is_refused(folder: Path, target: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    write_json(folder / "modules.json", [*modules[:2], {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])
    refused(errors.NotSupported, "modules of the model are Transformer, Pooling, Dense", folder, target)


def test_a_limit_that_can_not_be_is_refused(folder: Path, target: Path) -> None:
    change_json(folder / "sentence_bert_config.json", max_seq_length=0)
    refused(errors.FileDamaged, "max_seq_length .* is 0", folder, target)


@pytest.mark.parametrize("options", [models.Options(dim=33), models.Options(dim=0), models.Options(layers=4), models.Options(layers=0)])
def test_an_option_outside_of_the_model_is_refused(folder: Path, target: Path, options: models.Options) -> None:
    refused(errors.InvalidParameter, "must be from 1 to", folder, target, options=options)


def test_a_name_that_can_not_be_and_a_folder_that_is_not_there(folder: Path, target: Path) -> None:
    with pytest.raises(errors.InvalidParameter, match="invalid model name"):
        adding.add_folder(folder, target, "../x", source_label="")
    refused(errors.FileMissing, "does not exist", folder / "nowhere", target)


def test_a_failure_leaves_the_model_that_was_there(folder: Path, target: Path) -> None:
    first = add(folder, target)
    files = {path: path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()}
    weights = weights_of("bert")
    weights["embeddings.LayerNorm.bias"][0] = np.nan
    save_weights(folder, weights)
    with pytest.raises(errors.FileDamaged):
        add(folder, target)
    assert {path: path.read_bytes() for path in sorted(target.rglob("*")) if path.is_file()} == files
    assert models.read_info(target / "m" / "current") == first


# The hub


def test_a_hub_name_is_fetched_without_other_formats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None, list[str]]] = []

    def snapshot_download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    assert adding.fetch_hub("owner/name", "main") == tmp_path
    # No safetensors came: asked again, for the exported graph.
    assert [("onnx/model.onnx" in patterns) for _, _, patterns in asked] == [False, True]
    (tmp_path / "model.safetensors").touch()
    adding.fetch_hub("owner/name", None)
    assert len(asked) == 3
    assert asked[2][:2] == ("owner/name", None)
    assert not any(pattern.endswith((".bin", "*.onnx")) for _, _, patterns in asked for pattern in patterns)


def test_a_hub_that_does_not_answer_is_an_error_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*_: Any, **__: Any) -> str:
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    with pytest.raises(errors.NotReady, match='"owner/name" could not be fetched') as caught:
        adding.fetch_hub("owner/name", None)
    assert "no network" in str(caught.value.detail)
    assert "folder" in str(caught.value.hint)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(errors.NotReady, match="huggingface_hub is not installed") as caught:
        adding.fetch_hub("owner/name", None)
    assert "pip install" in str(caught.value.hint)
