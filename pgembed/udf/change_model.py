"""Changes of models: bodies of ``sql/functions/change_model.sql``."""

from __future__ import annotations

from typing import Any

from pgembed import catalogue as models
from pgembed import columns, errors, freshness, progress
from pgembed.changing import catalogue, indexes, running, switching
from pgembed.columns import Column
from pgembed.udf import boundary, embeddings, registry, work
from pgembed.udf.connection import DATABASE

_BATCH = 1000


@boundary
def change_model(
    target: str | None,
    model: str | None,
    column_name: str | None,
    wait: bool | None,
    build_index: bool | None,
    batch_size: int | None,
    switch: bool | None,
) -> None:
    """Body of `pgembed.change_model`."""
    if model is None:
        raise errors.NullNotAllowed("model is NULL", hint="Name the new model; SELECT name FROM pgembed.models lists all.")

    def fill(column: Column) -> None:
        work.refresh(column.table.sql, column.name, _BATCH if batch_size is None else batch_size, False, False)

    info = models.describe(DATABASE, model)
    wanted = running.Wanted(
        info,
        wait=wait is not False,
        build_index=build_index is not False,
        switch=switch is not False,
        room=lambda: embeddings.room_of(info),
    )
    with progress.shown(DATABASE, "change_model", str(target)):
        running.change_model(DATABASE, registry.write_for, fill, target, column_name, wanted)


@boundary
def switch_model(target: str | None, column_name: str | None, allow_missing: bool | None, timeout: str | None) -> None:
    """Body of `pgembed.switch_model`."""
    change = catalogue.must_find(DATABASE, target, column_name)
    switching.switch(DATABASE, registry.write_for, change, _seconds(timeout), allow_missing=bool(allow_missing))
    DATABASE.notice(
        f"{change.column.label} is of model {change.new_model} now",
        hint=f"SELECT pgembed.rollback_model('{change.column.table.shown}', '{change.column.name}') goes back at once.",
    )


@boundary
def rollback_model(target: str | None, column_name: str | None, timeout: str | None) -> None:
    """Body of `pgembed.rollback_model`."""
    change = catalogue.must_find(DATABASE, target, column_name)
    shown, name = change.column.table.shown, change.column.name
    if switching.roll_back(DATABASE, registry.write_for, change, _seconds(timeout)):
        DATABASE.notice(
            f"{change.column.label} is of the model before again; the vectors of {change.new_model} are kept and followed on",
            hint=f"pgembed.switch_model('{shown}', '{name}') takes them again, pgembed.rollback_model('{shown}', '{name}') drops them.",
        )
    else:
        DATABASE.notice(f"{change.column.label}: the change to {change.new_model} is given up")


@boundary
def finish_model_change(target: str | None, column_name: str | None, timeout: str | None) -> None:
    """Body of `pgembed.finish_model_change`."""
    change = catalogue.must_find(DATABASE, target, column_name)
    switching.finish(DATABASE, registry.write_for, change, _seconds(timeout))


@boundary
def model_change_indexes(target: str | None, column_name: str | None, concurrently: bool | None) -> list[str]:
    """Body of `pgembed.model_change_indexes`."""
    change = catalogue.must_find(DATABASE, target, column_name)
    if change.switched or change.other is None:
        return []
    found = indexes.missing(DATABASE, change.column, change.other)
    return indexes.statements(change.other, found, concurrently=concurrently is not False)


@boundary
def how_far(
    target: str | None, column_name: str | None, state: str | None, seconds: float | None, filled_before: int | None
) -> dict[str, Any] | None:
    """Body of `pgembed._model_progress`."""
    if target is None or target.isdigit() or state in ("switched", "finished", "abandoned"):
        return None
    beside = [one for one in columns.table(DATABASE, target)[1] if one.change_of == column_name and one.type]
    counts = freshness.states(DATABASE, beside[0]) if beside else None
    if counts is None:
        return None
    left = counts["pending"] + counts["stale"]
    made = counts["fresh"] + counts["stale"] - (filled_before or 0)
    rate = max(0, made) / seconds if state == "filling" and seconds else None
    return {
        "rows": counts["rows"],
        # what has no text needs no vector
        "done": counts["rows"] - left - counts["failed"],
        "failed": counts["failed"],
        "rate": rate,
        "eta": f"{left / rate:.3f} seconds" if rate else None,
    }


def _seconds(timeout: str | None) -> float:
    if timeout is None:
        raise errors.NullNotAllowed("timeout is NULL", hint="10 s is the default.")
    asked = "SELECT pg_catalog.date_part('epoch', $1::pg_catalog.interval) AS seconds"
    found = DATABASE.execute(asked, ["pg_catalog.text"], [timeout])[0]["seconds"]
    if found < 0:
        raise errors.InvalidParameter(f"timeout must not be below 0, not {timeout}", hint="10 s is the default.")
    return float(found)
