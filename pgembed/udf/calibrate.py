"""Calibration: the body of ``sql/functions/calibrate.sql``."""

from __future__ import annotations

from pgembed import calibration
from pgembed.udf import boundary, registry
from pgembed.udf.connection import DATABASE


@boundary
def calibrate(
    target: str | None, column_name: str | None, queries: str | None, queries_column: str | None, sample: int | None, seed: int | None
) -> None:
    """Body of `pgembed.calibrate`."""
    calibration.calibrate(DATABASE, registry.write_for, target, column_name, (queries, queries_column), sample, seed)
