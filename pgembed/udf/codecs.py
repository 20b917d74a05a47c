"""Codecs: bodies of ``sql/functions/codecs.sql``."""

from __future__ import annotations

from pgembed.codes import declaring, encoding
from pgembed.udf import boundary, registry, translated
from pgembed.udf.connection import DATABASE


@translated
def encode_known(fingerprint: str, vector: bytes) -> bytes | None:
    """Body of `pgembed._encode_known`."""
    return encoding.known(fingerprint, vector)


@translated
def encode_with(fingerprint: str, constants: bytes | None, vector: bytes) -> bytes:
    """Body of `pgembed._encode_with`."""
    return encoding.learn(fingerprint, constants, vector)


@boundary
def train_codec(
    name: str | None,
    target: str | None,
    method: str | None,
    column_name: str | None,
    bits: int | None,
    dims: int | None,
    bytes: int | None,
    centered: bool | None,
    rotation: str | None,
    residual_bits: int | None,
    queries: str | None,
    queries_column: str | None,
    sample_rows: int | None,
    seed: int | None,
    code_type: str | None,
    measure: bool | None,
) -> str:
    """Body of `pgembed.train_codec`."""
    options = {"bits": bits, "dims": dims, "bytes": bytes, "centered": centered, "rotation": rotation, "residual_bits": residual_bits}
    return declaring.train(
        DATABASE,
        registry.write_for,
        declaring.Request(
            name, target, method, column_name, options, (queries, queries_column), sample_rows, seed, code_type, measure is not False
        ),
    )


@boundary
def retrain_codec(name: str | None, new_name: str | None) -> str:
    """Body of `pgembed.retrain_codec`."""
    return declaring.retrain(DATABASE, registry.write_for, name, new_name)


@boundary
def drop_codec(name: str | None) -> None:
    """Body of `pgembed.drop_codec`."""
    declaring.drop(DATABASE, registry.write_for, name)
