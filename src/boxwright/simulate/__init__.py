"""The regression experiment of the DIoU paper: boxes that descend a loss, without a network."""

from __future__ import annotations

from boxwright.simulate.descent import trace
from boxwright.simulate.experiment import LOSSES, Regression, Simulation, simulate

__all__ = ["LOSSES", "Regression", "Simulation", "simulate", "trace"]
