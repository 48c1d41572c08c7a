"""thresholds.json: what is in it, who goes by it, and when it is refused or goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import boxwright as bw
from boxwright._util.ownership import is_ours
from boxwright.demo_data import make_digits
from boxwright.errors import BoxwrightWarning, RecipeError
from boxwright.evaluate import Thresholds, Wish, detection_metrics
from boxwright.runs import Run
from boxwright.runs.assess import evaluate_run, predict_to_folder
from boxwright.runs.checkpoints import write_checkpoint
from boxwright.runs.thresholds import expectations, said, write_thresholds
from dataset_builders import write_picture
from tiny_runs import keep_tiny_run

RIGHT, WRONG = [5.0, 5, 50, 50], [60.0, 60, 90, 90]


def made_up(classes: Sequence[str], counts: Sequence[int], split: str = "val") -> Thresholds:
    """Of so many objects of each class, all found with a score of their own; a mistake below one in three."""
    found, targets = [], []
    for label, count in enumerate(counts):
        own = 0.2 + 0.01 * label
        for place in range(count):
            boxes = [RIGHT, WRONG][: 1 + (place % 3 == 0)]
            targets.append({"boxes": [RIGHT], "labels": [label]})
            found.append({"boxes": boxes, "labels": [label] * len(boxes), "scores": [own, 0.1][: len(boxes)]})
    matches = detection_metrics(found, targets, classes).matches
    return Thresholds.of(matches, classes, split=split, default=0.3)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return keep_tiny_run(tmp_path / "run", ("Katze", "犬", "a b"))


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    files = [tmp_path / "photos" / f"{name}.png" for name in "abc"]
    for seed, file in enumerate(files):
        write_picture(file, seed)
    return files


def predict(run: Run, photos: list[Path], out: Path, **options: Any) -> tuple[list[str], list[dict[str, Any]]]:
    said: list[str] = []
    predict_to_folder(run.folder, photos, out, say=said.append, **options)
    return said, json.loads((out / "detections.json").read_text())


def test_it_comes_back_as_it_was(run: Run) -> None:
    assert run.thresholds is None
    assert run.load().thresholds is None
    told = made_up(run.recipe.classes, [30, 12, 3])
    write_thresholds(run.thresholds_file, told)
    assert run.thresholds == told
    assert run.load().thresholds == told
    assert bw.load(run.model_file).min_scores() == told.scores == [0.15, 0.16, 0.15]
    assert is_ours(run.thresholds_file)
    content = json.loads(run.thresholds_file.read_text())
    assert content["classes"]["犬"]["objects"] == 12
    assert content["classes"]["a b"]["source"] == "all classes"
    assert run.thresholds_file in run.files


def test_predict_keeps_what_is_above_each_class_s_score(run: Run, photos: list[Path], tmp_path: Path) -> None:
    everything = predict(run, photos, tmp_path / "all", score=0.0)[1]
    by_class = {name: [e["score"] for e in everything if e["category"] == name] for name in run.recipe.classes}
    scores = [sorted(values)[len(values) // 2] for values in by_class.values()]
    told = made_up(run.recipe.classes, [30, 12, 12])
    classes = {name: replace(each, score=s) for (name, each), s in zip(told.classes.items(), scores, strict=True)}
    write_thresholds(run.thresholds_file, replace(told, classes=classes))
    lines, entries = predict(run, photos, tmp_path / "own")
    assert lines[0].startswith(f"predict keeps scores above Katze {scores[0]:.3f}, 犬 {scores[1]:.3f}, a b ")
    own = dict(zip(run.recipe.classes, scores, strict=True))
    assert entries == [entry for entry in everything if entry["score"] > own[entry["category"]]]
    assert 0 < len(entries) < len(everything)
    lines, entries = predict(run, photos, tmp_path / "number", score=0.0)
    assert not lines[0].startswith("predict keeps")
    assert entries == everything


def test_a_wish_says_what_to_expect(run: Run, photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"precision 0.9 needs a validation, and this model has none: "):
        predict(run, photos, tmp_path / "found", score="precision=0.9")
    assert not (tmp_path / "found").exists()
    write_thresholds(run.thresholds_file, made_up(run.recipe.classes, [5, 2, 1]))
    with pytest.raises(RecipeError, match=r"with too few objects: boxwright eval RUN DATA .* --save-thresholds makes"):
        predict(run, photos, tmp_path / "found", score="recall=0.9")
    write_thresholds(run.thresholds_file, made_up(run.recipe.classes, [30, 12, 3]))
    lines, _ = predict(run, photos, tmp_path / "found", score="precision=0.9")
    assert lines[:4] == [
        "for precision 0.9 expect what val (45 images) had, with 95 % intervals over images:",
        "Katze: score 0.150, precision 1.000 [0.878, 1.000], recall 1.000 [0.878, 1.000]",
        "犬: score 0.160, precision 1.000 [0.712, 1.000], recall 1.000 [0.712, 1.000]",
        "a b: score 0.150, precision 1.000 [0.917, 1.000], recall 1.000 [0.917, 1.000] "
        "(by all classes together: 3 objects)",
    ]


def test_what_is_out_of_reach_is_said() -> None:
    found = [{"boxes": [WRONG, RIGHT], "labels": [0, 0], "scores": [0.9, 0.5]} for _ in range(12)]
    targets = [{"boxes": [RIGHT], "labels": [0]} for _ in range(24)]
    matches = detection_metrics([*found, *[{}] * 12], targets, ["a"]).matches
    told = Thresholds.of(matches, ["a"], split="", default=0.3)
    _, line = expectations(told, Wish("precision", 0.8))
    assert line.startswith("a: score 0.250, precision 0.500 [")
    assert line.endswith("; precision 0.8 is out of reach, this is the nearest")
    first, line = expectations(told, Wish("recall", 0.8))
    assert first == "for recall 0.8 expect what the data (24 images) had, with 95 % intervals over images:"
    assert line.endswith("; recall 0.8 is out of reach, this is the nearest")


def test_lines_say_what_each_score_comes_from() -> None:
    assert said(made_up(("a", "b", "c"), [30, 3, 0])) == (
        "predict keeps scores above a 0.150, b 0.150 (all classes together: 3 objects), "
        "c 0.150 (all classes together: 0 objects): the best F1 on val (33 images)"
    )
    assert said(made_up(("a",), [1])) == (
        "predict keeps scores above a 0.300 (the recipe's: 1 object): the best F1 on val (1 image)"
    )
    many = [f"c{label}" for label in range(20)]
    assert said(made_up(many, [12] * 15 + [1] * 5)) == (
        "predict keeps scores above 0.150 to 0.220 by class, 0.150 for 5 classes of few objects: the best F1 on val "
        "(185 images)"
    )
    assert said(Thresholds.unmeasured(("a",), 0.3)) == (
        "predict keeps scores above 0.3, the recipe's: no validation told others"
    )


def test_other_thresholds_begin_anew(run: Run, photos: list[Path], tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    told = made_up(run.recipe.classes, [30, 12, 3])
    write_thresholds(run.thresholds_file, told)
    with pytest.raises(KeyboardInterrupt):
        predict(run, photos, tmp_path / "found", batch=1, advance=interrupt)
    lines, _ = predict(run, photos, tmp_path / "found", score=told.scores)  # the same
    assert lines[0].startswith("going on after the first 1 of 3")
    with pytest.raises(KeyboardInterrupt):
        predict(run, photos, tmp_path / "found", batch=1, advance=interrupt)
    write_thresholds(run.thresholds_file, made_up(run.recipe.classes, [30, 12, 30]))
    with pytest.warns(BoxwrightWarning, match="keeps what was found with another score: starting anew"):
        predict(run, photos, tmp_path / "found")


@pytest.mark.parametrize("content", ['{"split": "val"}', "[]", '{"classes": {}}', "\0", "", '{"score": NaN}'])
def test_a_damaged_file_is_refused_with_what_to_do(run: Run, content: str) -> None:
    run.thresholds_file.write_text(content)
    with pytest.raises(RecipeError, match=r"thresholds\.json is damaged: .*: remove it, and predict uses the rec"):
        run.load()


def test_columns_of_different_lengths_are_damage(run: Run) -> None:
    write_thresholds(run.thresholds_file, made_up(run.recipe.classes, [30, 12, 3]))
    content = json.loads(run.thresholds_file.read_text())
    content["all_classes"]["curve"]["recall"].append(1.0)
    run.thresholds_file.write_text(json.dumps(content))
    with pytest.raises(RecipeError, match=r"thresholds\.json is damaged: Expected columns of one length"):
        run.load()


def test_those_of_other_classes_are_refused(run: Run) -> None:
    write_thresholds(run.thresholds_file, made_up(("Katze", "a b", "犬"), [30, 12, 3]))
    with pytest.raises(RecipeError, match=r"has the classes Katze, a b, 犬, the model Katze, 犬, a b: remove it"):
        run.load()


def test_another_model_takes_them_away(run: Run) -> None:
    detector = run.load()
    detector.thresholds = made_up(run.recipe.classes, [30, 12, 3])
    run.keep(detector)
    assert run.thresholds == detector.thresholds
    detector.thresholds = None
    run.keep(detector)
    assert not run.thresholds_file.exists()


def test_checkpoints_have_their_own(run: Run) -> None:
    state = {f"detector.{name}": value for name, value in run.load().state_dict().items()}
    write_thresholds(run.thresholds_file, made_up(run.recipe.classes, [30, 12, 3]))
    write_checkpoint(run.last_checkpoint, {"state_dict": state})
    assert bw.load(run.last_checkpoint).thresholds is None
    content = json.loads(run.thresholds_file.read_text())
    write_checkpoint(run.best_checkpoint, {"state_dict": state, "thresholds": content})
    assert bw.load(run.best_checkpoint).thresholds == run.thresholds
    write_checkpoint(run.best_checkpoint, {"state_dict": state, "thresholds": {**content, "classes": {}}})
    with pytest.raises(RecipeError, match=r"best\.ckpt has the classes , the model Katze"):
        bw.load(run.best_checkpoint)


@pytest.mark.slow
def test_an_evaluation_keeps_them(tmp_path: Path) -> None:
    data = make_digits(tmp_path / "digits", images={"train": 1, "val": 12, "test": 1}, size=64)
    run, said = keep_tiny_run(tmp_path / "run", [str(digit) for digit in range(10)]), []
    options: dict[str, Any] = {"say": said.append, "save_thresholds": True}
    for wrong, why in (
        ({"classes": ["1", "0"]}, "thresholds are for all classes of the model, 0, 1, .*: leave out --classes"),
        ({"nms": "diou"}, "thresholds are for the recipe's NMS: leave out --nms"),
        ({"nms_agnostic": False}, "thresholds are for the recipe's NMS: leave out --nms"),
    ):
        with pytest.raises(RecipeError, match=f"--save-thresholds: {why}"):
            evaluate_run(run.folder, data, "val", **options, **wrong)
    with pytest.raises(
        RecipeError, match=r"thresholds are for a run folder, and .*model\.safetensors is a file in one"
    ):
        evaluate_run(run.model_file, data, "val", **options)
    run.thresholds_file.write_text("mine")
    with pytest.raises(RecipeError, match="damaged"):
        evaluate_run(run.folder, data, "val", **options)
    run.thresholds_file.unlink()
    assessment = evaluate_run(run.folder, data, "val", **options)
    told = run.thresholds
    assert told == Thresholds.of(assessment.metrics.matches, run.recipe.classes, split="val", default=0.01)
    assert told.images == 12
    assert sum(each.objects for each in told.classes.values()) == told.all_classes.objects > 12
    assert any(line.startswith("predict keeps scores above") for line in said)
    again = evaluate_run(run.folder, data, "val", **options)  # in the place of its own
    assert again.metrics.AP == assessment.metrics.AP
