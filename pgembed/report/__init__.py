"""report: one self-contained page on an embedded column: what it is, what searches on it find and take, and what its vectors look like."""

from __future__ import annotations

from pgembed.report.writing import Summary, write

__all__ = ["Summary", "write"]
