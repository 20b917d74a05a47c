"""Linkers that learn, and are measured: bodies of ``sql/functions/train_linker.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import errors
from pgembed.linkers import evaluating, training
from pgembed.linkers import labels as labelling
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE


@boundary
def create_link_labels(name: str | None, linker: str | None) -> str:
    """Body of `pgembed.create_link_labels`."""
    return labelling.create(DATABASE, name, linker)


@boundary
def train_linker(name: str | None, labels: str | None, seed: int | None) -> None:
    """Body of `pgembed.train_linker`."""
    training.train(DATABASE, registry.write_for, name, labels, _seed(seed))


@boundary
def evaluate_linker(
    name: str | None,
    gold: str | None,
    find_mentions: bool | None,
    target_precision: float | None,
    pronouns: bool | None,
    seed: int | None,
) -> list[dict[str, Any]]:
    """Body of `pgembed.evaluate_linker`."""
    return evaluating.evaluate(
        DATABASE,
        name,
        gold,
        find_mentions=bool(find_mentions),
        precision=target_precision,
        pronouns=bool(pronouns),
        seed=_seed(seed),
    )


def _seed(seed: int | None) -> int:
    if seed is None:
        raise errors.NullNotAllowed("seed is NULL", hint="Leave it out for 0.")
    if seed < 0:
        raise errors.InvalidParameter(f"seed must not be below 0, not {seed}", hint="Any number from 0.")
    return seed
