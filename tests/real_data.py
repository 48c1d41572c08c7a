"""Where real data lies, if there is any."""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).parents[2] / "shared"
"""No part of the project: tests that want it are skipped where it is missing."""
