"""What notebooks show of results: tables with the figures of the objects, in which no name is markup."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import boxwright as bw
from boxwright._util.notebook import html_table, paragraphs
from boxwright.check import check_dataset
from boxwright.demo_data import make_digits
from boxwright.inspect import inspect_supervision


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits") / "data", images={"train": 2, "test": 2}, size=64)


def test_a_table_escapes_names_and_says_what_it_leaves_out() -> None:
    made = html_table(("a<b", "n"), [(f"x&{number}\x1b", f"{number}") for number in range(5)], most=2)
    assert made.count("<tr>") == 3
    assert "<th>a&lt;b</th>" in made
    assert r"<td>x&amp;1\x1b</td><td>1</td>" in made
    assert made.endswith("<p>and 3 more</p>")
    assert "more" not in html_table(("a",), [("1",), ("2",)], most=2)
    assert paragraphs("", "<script>") == "<p>&lt;script&gt;</p>"


def test_detections_are_rows() -> None:
    found = bw.Detections(torch.tensor([[1.0, 2, 3, 4.25]]), torch.tensor([0.875]), torch.tensor([2]))
    cells = "<td>2</td><td>0.875</td><td>1.0</td><td>2.0</td><td>3.0</td><td>4.2</td>"
    assert f"<tr>{cells}</tr>" in found._repr_html_()
    nothing = bw.Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert nothing._repr_html_().count("<tr>") == 1


def test_metrics_are_a_row_a_class_with_intervals(data: Path) -> None:
    test = bw.read_dataset(data, "test")
    truth = [test.target(image) for image in range(len(test))]
    found = [bw.Detections(each.boxes, torch.ones(len(each.boxes)), each.labels) for each in truth]
    metrics = bw.evaluate.detection_metrics(found, test, test.classes)
    shown = metrics._repr_html_()
    assert shown.count("<tr>") == 2 + len(test.classes)
    low, high = metrics.intervals["AP"]
    assert f"<td>all classes</td><td>1.000 [{low:.3f}, {high:.3f}]</td>" in shown
    missing = next(name for name, each in metrics.per_class.items() if not each["targets"])
    assert f"<td>{missing}</td><td>-</td>" in shown


def test_a_check_has_its_splits_and_findings(data: Path) -> None:
    report = check_dataset(data)
    shown = report._repr_html_()
    assert f"{report.layout}: {report.images} images, {report.boxes} boxes." in shown
    assert "<td>train</td><td>2</td>" in shown
    assert all(f"<td>{each.kind}</td>" in shown for each in report.findings)


def test_an_inspection_has_its_answer_and_a_row_a_class(data: Path) -> None:
    train = bw.read_dataset(data, "train")
    found = inspect_supervision(train, bw.get_recipe("lite320", image_size=64), examples=1)
    shown = found._repr_html_()
    assert found.headline in shown
    classes = {int(label) for image in range(len(train)) for label in train.target(image).labels}
    assert shown.count("<tr>") == 1 + len(classes)
