"""Which candidate pairs of a join are the same thing: probabilities, thresholds and how sure they are.

Pure functions over arrays: who fetches the rows, and with whose rights, is another room's business.
"""

from __future__ import annotations

from pgembed.matching.contract import Decision, Estimate, MappingKind, Scored

__all__ = ["Decision", "Estimate", "MappingKind", "Scored"]
