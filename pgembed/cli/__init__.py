"""cli: the command ``pgembed``. It parses arguments and calls the rooms that do the work."""

from __future__ import annotations

from pgembed.cli.program import main

__all__ = ["main"]
