"""All parts of an examination, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from boxwright.doctor.devices import examine_devices
from boxwright.doctor.libraries import examine_extras, examine_torch, examine_versions
from boxwright.doctor.machine import examine_cores, examine_disk, examine_memory
from boxwright.doctor.parts import Advice, Part
from boxwright.doctor.stores import examine_caches, examine_starts

PROBES: dict[str, Callable[[], Part]] = {
    "versions": examine_versions,
    "torch": examine_torch,
    "devices": examine_devices,
    "cores": examine_cores,
    "memory": examine_memory,
    "disk": examine_disk,
    "caches": examine_caches,
    "starts": examine_starts,
    "extras": examine_extras,
}


@dataclass(frozen=True)
class Examination:
    """Facts and advice about this machine, part by part."""

    parts: Mapping[str, Part]

    @property
    def advice(self) -> list[Advice]:
        """All advice, in the order of the parts."""
        return [each for part in self.parts.values() for each in part.advice]

    def to_json(self) -> dict[str, Any]:
        """Return plain values: the advice, then the facts of each part."""
        return {"advice": self.advice, **{name: part.facts for name, part in self.parts.items()}}


def examine(probes: Mapping[str, Callable[[], Part]] = PROBES) -> Examination:
    """Examine everything but the speed; a probe that fails becomes a part that says why."""
    return Examination({name: _outcome(name, probe) for name, probe in probes.items()})


def _outcome(name: str, probe: Callable[[], Part]) -> Part:
    try:
        return probe()
    except Exception as error:  # of a broken library, or of a system that is like no other
        why = f"{type(error).__name__}: {error}"
        return Part({"error": why}, (Advice(f"{name} can't be looked at: {why}", "please report it, with this page"),))
