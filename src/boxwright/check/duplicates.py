"""Images that are identical or nearly so, and whether they leak between splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from boxwright.check.images import ImageFacts
from boxwright.data.annotations import Annotations, Fault
from boxwright.data.near import near_pairs

Members = Mapping[int, frozenset[str]]


def copied_images(table: Annotations, facts: Sequence[ImageFacts | None], members: Members) -> list[Fault]:
    """Find identical and nearly identical images; ``members`` lists the splits of each image."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, fact in enumerate(facts):
        if fact is not None and fact.thumbnail is not None:
            groups[fact.digest].append(row)
    faults = []
    for rows in groups.values():
        firsts = {members.get(rows[0], frozenset()): rows[0]}  # of each combination of splits, as copies may be many
        for row in rows[1:]:
            other = _telling_partner(row, list(firsts.values()), members)
            firsts.setdefault(members.get(row, frozenset()), row)
            text = f"the same bytes as {table.names[other]}{_leak(row, other, members)}"
            faults.append(Fault("identical-images", table.paths[row], None, text))
    distinct = np.array([rows[0] for rows in groups.values()], np.int64)
    thumbnails = [fact.thumbnail for row in distinct if (fact := facts[row]) and fact.thumbnail is not None]
    for i, partners in near_pairs(np.array(thumbnails, np.float32).reshape(-1, 32, 32)).items():
        row = int(distinct[i])
        other = _telling_partner(row, [int(distinct[j]) for j in partners], members)
        text = f"nearly the same picture as {table.names[other]}{_leak(row, other, members)}"
        faults.append(Fault("near-identical-images", table.paths[row], None, text))
    return faults


def _telling_partner(row: int, partners: list[int], members: Members) -> int:
    """Choose one of several partners: one in another split, if any."""
    return next((other for other in partners if _leak(row, other, members)), partners[0])


def _leak(row: int, other: int, members: Members) -> str:
    mine, its = members.get(row, frozenset()), members.get(other, frozenset())
    if not mine or not its or mine & its:
        return ""
    return f" (leakage: {min(its)} and {min(mine)})"
