"""Arrays, lists of texts and plain values as bytes and back: nothing in them is ever executed."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from pgembed.errors import InvalidParameter

MAGIC = b"pgembed linker\0\0"
VERSION = 1
TYPES = frozenset(["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|i1", "|u1", "|b1", "<u4"])
_HEAD = struct.Struct("<16sII")
_DIGEST = 32

Arrays = dict[str, npt.NDArray[Any]]


def to_bytes(values: dict[str, Any], arrays: Arrays, texts: dict[str, list[str]]) -> bytes:
    """A header in JSON, then the arrays one behind the other, then a digest of it all.

    Args:
        values: what JSON has.
        arrays: of the types in TYPES.
        texts: any Unicode, lone surrogates too.
    """
    parts: list[bytes] = []
    listed = []
    for name, array in arrays.items():
        plain = np.ascontiguousarray(array)
        if plain.dtype.newbyteorder("<").str not in TYPES:
            raise TypeError(f"an array of type {plain.dtype} is not stored")
        plain = plain.astype(plain.dtype.newbyteorder("<"), copy=False)
        listed.append([name, plain.dtype.str, list(plain.shape)])
        parts.append(plain.tobytes())
    for name, some in texts.items():
        encoded = [text.encode("utf-8", "surrogatepass") for text in some]
        parts += [np.array([len(text) for text in encoded], dtype="<i8").tobytes(), b"".join(encoded)]
        listed.append([name, "texts", [len(encoded), sum(map(len, encoded))]])
    header = json.dumps({"values": values, "parts": listed}, separators=(",", ":")).encode()
    body = b"".join([_HEAD.pack(MAGIC, VERSION, len(header)), header, *parts])
    return body + hashlib.sha256(body).digest()


def from_bytes(stored: bytes) -> tuple[dict[str, Any], Arrays, dict[str, list[str]]]:
    """What `to_bytes` was given.

    Raises:
        InvalidParameter: the bytes are none of ours, damaged, or of a newer version.
    """
    stored = bytes(stored)
    hint = "Train the linker again."
    if len(stored) < _HEAD.size + _DIGEST or not stored.startswith(MAGIC):
        raise InvalidParameter(f"these {len(stored)} bytes are not a linker's model", hint=hint)
    _, version, size = _HEAD.unpack_from(stored)
    if version > VERSION:
        raise InvalidParameter(
            f"a linker's model of version {version} was stored by a newer pgembed; this one reads up to {VERSION}",
            hint="Update pgembed, or train the linker again.",
        )
    body = memoryview(stored)[:-_DIGEST]
    if hashlib.sha256(body).digest() != stored[-_DIGEST:]:
        raise InvalidParameter("a linker's model is damaged: its digest is not that of its bytes", hint=hint)
    try:
        header = json.loads(bytes(body[_HEAD.size : _HEAD.size + size]))
        at, arrays, texts = _HEAD.size + size, Arrays(), dict[str, list[str]]()
        for name, kind, shape in header["parts"]:
            if kind == "texts":
                count, length = shape
                sizes = np.frombuffer(body, "<i8", count, at)
                ends = at + 8 * count + np.cumsum(sizes)
                texts[name] = [
                    bytes(body[end - n : end]).decode("utf-8", "surrogatepass")
                    for n, end in zip(sizes.tolist(), ends.tolist(), strict=True)
                ]
                at += 8 * count + length
            elif kind in TYPES:
                n = int(np.prod(shape, dtype=np.int64))
                arrays[name] = np.frombuffer(body, kind, n, at).reshape(shape)
                at += n * np.dtype(kind).itemsize
            else:
                raise ValueError(kind)
    except (ValueError, KeyError, TypeError) as wrong:
        raise InvalidParameter(f"a linker's model can't be read: {wrong}", hint=hint) from None
    return header["values"], arrays, texts
