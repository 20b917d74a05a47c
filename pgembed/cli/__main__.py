"""``python -m pgembed.cli``."""

from __future__ import annotations

import sys

from pgembed.cli.program import main

if __name__ == "__main__":
    sys.exit(main())
