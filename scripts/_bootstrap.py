"""Put the project's root on sys.path, so that `python scripts/NAME.py` finds the package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import distill  # noqa: F401 (before torch: it says there why)
