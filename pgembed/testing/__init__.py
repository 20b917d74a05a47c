"""testing: pytest fixtures for projects that use pgembed, and a tiny model for them that needs no weights.

The fixtures are in ``plugin``, which pytest finds by itself; see README.md of this folder.
"""

from __future__ import annotations

from pgembed.testing.model import MODEL, write_model

__all__ = ["MODEL", "write_model"]
