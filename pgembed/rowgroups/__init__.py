"""rowgroups: groups of a table's rows: by given labels, by topic, by being the same. Reads the rows with the caller's rights.

What a group is, is said in `pgembed.grouping`, which knows no database.
"""

from __future__ import annotations

from pgembed.rowgroups.classifying import classify
from pgembed.rowgroups.deduplicating import deduplicate
from pgembed.rowgroups.topics import topic_rows, topics

__all__ = ["classify", "deduplicate", "topic_rows", "topics"]
