"""What was learned as plain arrays, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from pgembed.errors import InvalidParameter
from pgembed.joint.features import Inputs
from pgembed.joint.maps import Block, Maps, Plan
from pgembed.joint.words import counted

_VERSION = 1
_EXPECTED = ("head", "weights", "left_words", "left_vectors", "right_words", "right_vectors")


def to_arrays(maps: Maps) -> dict[str, npt.NDArray[Any]]:
    """What `from_arrays` needs beside the rows: numbers of 16 bits, hashes, and the plan as UTF-8 bytes of JSON."""
    head = {"version": _VERSION, "seed": maps.seed, "plan": asdict(maps.plan), "dense": list(maps.dense)}
    arrays: dict[str, npt.NDArray[Any]] = {
        "head": np.frombuffer(json.dumps(head).encode(), np.uint8),
        "weights": maps.weights.astype(np.float16),
        "left_words": maps.left_words,
        "left_vectors": maps.left_vectors.astype(np.float16),
        "right_words": maps.right_words,
        "right_vectors": maps.right_vectors.astype(np.float16),
    }
    for at, (left, right) in enumerate(maps.dense.values()):
        arrays[f"dense_{at}_left"], arrays[f"dense_{at}_right"] = left.astype(np.float16), right.astype(np.float16)
    return arrays


def from_arrays(arrays: Mapping[str, npt.NDArray[Any]], right: Inputs) -> Maps:
    """Maps over these rows, which may be others than those that were learned from.

    Raises:
        errors.InvalidParameter: something is missing, of another shape, or of a newer version.
    """
    absent = [name for name in _EXPECTED if name not in arrays]
    if absent:
        raise InvalidParameter(f"stored maps lack {', '.join(absent)}")
    try:
        head = json.loads(np.asarray(arrays["head"], np.uint8).tobytes())
        if head["version"] != _VERSION:
            raise InvalidParameter(f"stored maps are of version {head['version']}, expected {_VERSION}; HINT: train again")
        given = head["plan"]
        plan = Plan(
            blocks=tuple(Block(**block) for block in given["blocks"]),
            pairs=tuple((left, of, float(weight)) for left, of, weight in given["pairs"]),
            left=tuple(given["left"]),
            right=tuple(given["right"]),
            rank=int(given["rank"]),
            known=tuple((zone, of) for zone, of in given["known"]),
        )
        names, seed = [str(name) for name in head["dense"]], int(head["seed"])
    except (ValueError, KeyError, TypeError) as problem:
        raise InvalidParameter(f"stored maps cannot be read: {problem}") from problem
    dense = {}
    for at, name in enumerate(names):
        if f"dense_{at}_left" not in arrays or f"dense_{at}_right" not in arrays:
            raise InvalidParameter(f'stored maps lack the matrices of "{name}"')
        dense[name] = (arrays[f"dense_{at}_left"].astype(np.float32), arrays[f"dense_{at}_right"].astype(np.float32))
    maps = Maps(
        plan,
        counted(right, tuple(block.zone for block in plan.blocks)),
        seed,
        arrays["weights"].astype(np.float32),
        arrays["left_words"].astype(np.int64),
        arrays["left_vectors"].astype(np.float32),
        arrays["right_words"].astype(np.int64),
        arrays["right_vectors"].astype(np.float32),
        dense,
    )
    columns = len(plan.pairs) + right.form.shape[1] + len(dense)
    if maps.weights.ndim != 2 or maps.weights.shape[1] != columns:
        raise InvalidParameter(f"stored weights have shape {maps.weights.shape}, expected {columns} columns")
    for side, words, vectors in (("left", maps.left_words, maps.left_vectors), ("right", maps.right_words, maps.right_vectors)):
        if vectors.shape != (len(words), plan.rank):
            raise InvalidParameter(f"stored vectors of the {side} side have shape {vectors.shape}, expected {(len(words), plan.rank)}")
    return maps
