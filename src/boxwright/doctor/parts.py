"""A part of an examination: facts, and advice on what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Advice:
    """Something that hinders trainings, and what to do about it."""

    problem: str
    cure: str


@dataclass(frozen=True)
class Part:
    """Facts and advice in one respect."""

    facts: Mapping[str, Any]
    """Plain values by name, in the order in which they are shown."""
    advice: tuple[Advice, ...] = ()
