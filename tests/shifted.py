"""Static models of a few words for tests of two spaces: one gives every word the vector that the other gives its neighbour.

So a query by one model that is compared with the vectors of the other finds the wrong word, at distance 0.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

WORDS = 64


def word(number: int) -> str:
    """A word that both models know; its last letter is no other word's."""
    return "w" + "abcdefghijklmnopqrstuvwxyz"[number // 26] + "abcdefghijklmnopqrstuvwxyz"[number % 26]


def write(folder: Path, *, shift: int = 0, dim: int = 16, words: int = WORDS) -> Path:
    """A folder as Model2Vec saves it; the server's user may read it."""
    import json

    import numpy as np
    import tokenizers
    from safetensors.numpy import save_file

    pieces = ["[UNK]", "[PAD]", *(word(number) for number in range(words))]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    rows = np.random.default_rng(7).standard_normal((words, dim)).astype(np.float32)
    table = np.concatenate([np.zeros((2, dim), np.float32), np.roll(rows, shift, axis=0)])
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"embeddings": table}, folder / "model.safetensors")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}), encoding="utf-8")
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def register(execute: object, *names: str, dim: int = 16, words: int = WORDS) -> None:
    """Register models in a database: the first as it is, each other shifted by one word more.

    Args:
        execute: of a connection.
    """
    with tempfile.TemporaryDirectory(prefix="pgembed-test-") as place:
        Path(place).chmod(0o755)
        for shift, name in enumerate(names):
            folder = write(Path(place) / name, shift=shift, dim=dim, words=words)
            execute("SELECT pgembed.register_model(%s, %s)", [name, str(folder)])


@contextmanager
def database(server_url: str, template: str, name: str) -> Iterator[str]:
    """A database with the models ``old`` and ``new``, made of one that has the extension, until the end of the block; its name."""
    import psycopg

    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        with closing(psycopg.connect(server_url, dbname=name, autocommit=True)) as inside:
            register(inside.execute, "old", "new")
        yield name
        with closing(psycopg.connect(server_url, dbname=name, autocommit=True)) as inside:
            forget(inside.execute)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def forget(execute: object) -> None:
    """Take the models' files away, which would outlive a database that is dropped."""
    execute("DELETE FROM pgembed._model")
    execute("SELECT pgembed.register_model('last', 'all-minilm-l6-v2', dim => 1)")
