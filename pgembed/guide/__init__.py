"""guide: what ``pgembed.help()`` says.

What an object is and takes stands in the catalog, in its COMMENT; its examples are in topics.sql.
"""

from __future__ import annotations

from pgembed.guide.pages import page, psqlrc
from pgembed.guide.topics import Subject, Topic, subjects

__all__ = ["Subject", "Topic", "page", "psqlrc", "subjects"]
