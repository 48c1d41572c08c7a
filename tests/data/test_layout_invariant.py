"""Nothing that a user wrote is dropped in silence, whatever the layout.

Pictures under the folder = pictures read + pictures in findings; boxes written = boxes read + boxes in findings; every
list, class file and configuration is used or named. BOXWRIGHT_LAYOUTS=2000 tries as many layouts.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layout_generator import Made, make_layout

from boxwright.check import CheckReport, check_dataset
from boxwright.data.annotations import Annotations
from boxwright.data.layout import open_layout
from boxwright.data.readers.reader import Reader
from boxwright.errors import DataError

COUNT = int(os.environ.get("BOXWRIGHT_LAYOUTS", "120"))
_LEFT_OUT = re.compile(r"; its (\d+) box|\((\d+)\) are left out|the same boxes \((\d+)\)")


@settings(max_examples=COUNT, deadline=None, derandomize=COUNT < 1000, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_everything_is_read_or_named(random: Random) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check_layout(make_layout(Path(folder), random))


def check_layout(made: Made) -> None:
    try:
        reader = open_layout(made.root)
    except DataError as error:
        refusal = str(error)
        assert "no data set found" in refusal or "folder is empty" in refusal
        return
    table = reader.read(())
    report = check_dataset(made.root)
    named = {finding.file for finding in report.findings}
    assert made.hidden <= named
    said = " ".join(finding.message for finding in report.findings)
    told = {path for path in table.accounted if Path(path).name in said}
    assert not made.pictures - set(table.paths) - named - told
    assert not made.others - reader.sources - named - set(table.files)
    _check_boxes(made, reader, table, report, named)


def _check_boxes(made: Made, reader: Reader, table: Annotations, report: CheckReport, named: set[str]) -> None:
    """Each box of each file, by its place there, is in the table or in a finding, or is counted in one."""
    places: dict[str, set[int]] = defaultdict(set)
    tables = [reader.read((split,)) for split in reader.splits] if table.layout == "coco" else []
    for part in tables or [table]:  # an image that two COCO files list is in the whole table once
        for image, number in zip(part.image.tolist(), part.number.tolist(), strict=True):
            places[part.files[image]].add(number)
    left_out: Counter[str] = Counter()
    for finding in report.findings:
        if finding.box is not None:
            places[finding.file].add(finding.box)
        elif count := re.search(_LEFT_OUT, finding.message):
            left_out[finding.file] += int(count[1] or count[2] or count[3])
    for file, written in made.boxes.items():
        if file in table.files or file not in named:
            assert places[file] <= set(range(written))
            assert len(places[file]) + left_out[file] == written
