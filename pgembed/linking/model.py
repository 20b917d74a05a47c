"""What a linker has learned, as something to store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pgembed import boosting
from pgembed.errors import InvalidParameter
from pgembed.linking import learned, senses, storing
from pgembed.linking.decisions import Knob, Line
from pgembed.linking.learned import Learned, Stage
from pgembed.linking.memory import Memory
from pgembed.linking.sayings import Sayings
from pgembed.linking.storing import Arrays
from pgembed.mentions.habits import Habits

STAGES = ("first", "second", "right")


@dataclass(frozen=True)
class Model:
    """Arrays, texts and plain values, never code.

    Attributes:
        space: of the dense vectors it was trained with; None: without.
        summary: what `pgembed.linkers` shows of it, such as the number of labels.
        memory: which rows surfaces meant.
        sayings: which words were said of rows.
        ranking: None where there were too few labels to learn one.
        knob: precision of links by their probability.
        joint: maps into the joint space (mapped.py), as they are stored.
        habits: what those who labelled took for a mention; None: not learned.
        senses: which contexts fit rows, in the space; None: not learned.
    """

    space: str | None
    summary: dict[str, float]
    memory: Memory = field(default_factory=lambda: Memory.of(()))
    sayings: Sayings = field(default_factory=lambda: Sayings.of((), {}))
    ranking: Learned | None = None
    knob: Knob = field(default_factory=lambda: Knob(np.zeros(0), np.zeros(0)))
    joint: Arrays | None = None
    habits: Habits | None = None
    senses: senses.Learned | None = None

    def to_bytes(self) -> bytes:
        """A form to store: the same bytes for the same model."""
        arrays: Arrays = {
            "memory.surface": self.memory.surface,
            "memory.key": self.memory.key,
            "memory.count": self.memory.count,
            "sayings.word": self.sayings.word,
            "sayings.key": self.sayings.key,
            "knob.threshold": self.knob.threshold,
            "knob.precision": self.knob.precision,
        }
        texts = {
            "memory.surfaces": self.memory.surfaces,
            "memory.keys": self.memory.keys,
            "sayings.words": self.sayings.words,
            "sayings.keys": self.sayings.keys,
        }
        values: dict[str, Any] = {"space": self.space, "summary": self.summary}
        if self.ranking is not None:
            for name in STAGES:
                arrays |= _stage_arrays(name, getattr(self.ranking, name))
            values |= {
                "columns": list(learned.THIRD),
                "scale": self.ranking.scale,
                "line": [self.ranking.line.slope, self.ranking.line.shift],
            }
        if self.joint is not None:
            arrays |= {f"joint.{name}": array for name, array in self.joint.items()}
        if self.habits is not None:
            arrays |= {f"habits.{name}": array for name, array in self.habits.state().items()}
        if self.senses is not None:
            for name, array in self.senses.arrays().items():
                if array.dtype.kind == "U":
                    texts[f"senses.{name}"] = [str(one) for one in np.atleast_1d(array)]
                else:
                    arrays[f"senses.{name}"] = array
        return storing.to_bytes(values, arrays, texts)

    @classmethod
    def from_bytes(cls, stored: bytes) -> Model:
        """Read what `to_bytes` made.

        Raises:
            errors.InvalidParameter: it is none of ours, damaged, of a newer version, or asks for features that are gone.
        """
        values, arrays, texts = storing.from_bytes(stored)
        try:
            ranking = None
            if "columns" in values:
                if values["columns"] != list(learned.THIRD):
                    raise InvalidParameter(
                        "a linker's model was trained by another version of pgembed, which measured other things",
                        hint="Train the linker again.",
                    )
                first, second, right = (_stage(name, arrays) for name in STAGES)
                ranking = Learned(first, second, float(values["scale"]), right, Line(*map(float, values["line"])))
            of_habits = {name.removeprefix("habits."): array for name, array in arrays.items() if name.startswith("habits.")}
            of_senses = {name.removeprefix("senses."): array for name, array in arrays.items() if name.startswith("senses.")}
            if of_senses:
                said = {name.removeprefix("senses."): some for name, some in texts.items() if name.startswith("senses.")}
                of_senses |= {name: np.array(some, dtype=np.str_) for name, some in said.items()} | {"space": np.array(said["space"][0])}
            of_joint = {name.removeprefix("joint."): array for name, array in arrays.items() if name.startswith("joint.")}
            return cls(
                values["space"],
                values["summary"],
                Memory(
                    texts["memory.surfaces"],
                    texts["memory.keys"],
                    arrays["memory.surface"],
                    arrays["memory.key"],
                    arrays["memory.count"],
                ),
                Sayings(texts["sayings.words"], texts["sayings.keys"], arrays["sayings.word"], arrays["sayings.key"]),
                ranking,
                Knob(arrays["knob.threshold"], arrays["knob.precision"]),
                of_joint or None,
                Habits.of(of_habits) if of_habits else None,
                senses.Learned.from_arrays(of_senses) if of_senses else None,
            )
        except (KeyError, ValueError, TypeError, IndexError) as wrong:
            raise InvalidParameter(f"a linker's model lacks something: {wrong}", hint="Train the linker again.") from None


def _stage_arrays(name: str, stage: Stage) -> Arrays:
    columns, trees = stage.borders.of_column, stage.trees
    return {
        f"{name}.borders": np.concatenate([np.asarray(edges, dtype=np.float32) for edges in columns]),
        f"{name}.borders_of": np.array([len(edges) for edges in columns], dtype=np.int64),
        f"{name}.column": trees.column,
        f"{name}.border": trees.border,
        f"{name}.unknown_right": trees.unknown_right,
        f"{name}.leaf": trees.leaf,
        f"{name}.base": np.array([trees.base]),
    }


def _stage(name: str, arrays: Arrays) -> Stage:
    cut = np.cumsum(arrays[f"{name}.borders_of"])[:-1]
    borders = boosting.Borders(list(np.split(arrays[f"{name}.borders"], cut)))
    trees = boosting.Trees(
        arrays[f"{name}.column"],
        arrays[f"{name}.border"],
        arrays[f"{name}.unknown_right"],
        arrays[f"{name}.leaf"],
        float(arrays[f"{name}.base"][0]),
    )
    return Stage(borders, trees)
