"""Examination of a machine for training: versions, devices, memory, disk, caches, and how fast a step is.

Nothing here needs a network, and a part that cannot be looked at says so and stops no other.
"""

from boxwright.doctor.examination import Examination, examine
from boxwright.doctor.parts import Advice, Part
from boxwright.doctor.speed import Speed, measure_speed

__all__ = ["Advice", "Examination", "Part", "Speed", "examine", "measure_speed"]
