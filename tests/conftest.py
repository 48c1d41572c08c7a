"""What all tests share."""

from __future__ import annotations

from pathlib import Path

SHARED = Path(__file__).parents[2] / "shared"
"""Real data that is no part of the project; tests that want it are skipped where it is missing."""
