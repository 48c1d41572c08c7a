"""Claims of papers on losses, mining, matching and NMS, tested again with seeds, an interval and a verdict."""

from __future__ import annotations

from boxwright.reproduce.claims import CLAIMS, Claim
from boxwright.reproduce.outcomes import Outcome, Verdict, judge
from boxwright.reproduce.reproduction import reproduce
from boxwright.reproduce.sizes import SIZES, Size

__all__ = ["CLAIMS", "SIZES", "Claim", "Outcome", "Size", "Verdict", "judge", "reproduce"]
