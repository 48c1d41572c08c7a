"""The commands as people type them: exit codes, one-line errors, files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from boxwright.cli.app import app
from boxwright.demo_data import make_digits

KEYS = {
    "generator",
    "voc07",
    "voc_area",
    "per_class",
    "errors",
    "intervals",
    "calibration",
    *(f"AP{x}" for x in ("", 50, 75, "s", "m", "l")),
    *(f"AR{x}" for x in (1, 10, 100, "s", "m", "l")),
}
pytestmark = pytest.mark.slow

TINY = ["--set", "image_size=64", "--set", "width=32", "--set", "freeze=4", "--set", "batch_size=4"]


def boxwright(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-m", "boxwright", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_digits(tmp_path_factory.mktemp("digits"), images={"train": 8, "val": 3, "test": 3}, size=64)


@pytest.fixture(scope="module")
def run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    result = boxwright("train", digits, "--epochs", 1, "--out", out, *TINY)
    assert "epoch   1" in result.stdout
    assert "Traceback" not in result.stderr
    return out


def test_eval_agrees_with_itself_as_a_file(run: Path, digits: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("detections.json", "targets.json")]
    saved = ("--save-detections", files[0], "--save-targets", files[1])
    first = json.loads(boxwright("eval", run, digits, "--json", *saved).stdout)
    again = json.loads(boxwright("eval", files[0], digits, "--split", "test", "--json").stdout)
    assert "COCO" in boxwright("eval", files[0], digits, "--split", "test").stdout
    assert first == again
    assert set(first) == {*KEYS, "command"}
    targets = json.loads(files[1].read_text())
    assert {"images", "annotations", "categories"} <= targets.keys()
    page = (run / "report.html").read_text()
    assert f"boxwright train {digits} --recipe lite320 --set image_size=64" in page
    assert f"boxwright eval {run} {digits} --split test" in page
    assert "Trained on the 8 images of split train for 2 steps" in page
    for title in ("What goes wrong", "Curves of the classes", "A cross-section"):
        assert f"<h2>{title}</h2>" in page
    assert (run / "report.html").stat().st_size > 10_000


def test_eval_of_a_file_needs_no_torch(run: Path, digits: Path) -> None:
    code = (
        "import sys; from boxwright.cli.app import app; "
        f"app(['eval', r'{run / 'predictions' / 'test.json'}', r'{digits}'], standalone_mode=False); "
        "assert 'torch' not in sys.modules"
    )
    boxwright("eval", run, digits)
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_predict_takes_files_folders_and_globs(run: Path, digits: Path, tmp_path: Path) -> None:
    folder = digits / "images" / "test"
    one = sorted(folder.iterdir())[0]
    result = boxwright("predict", run, folder / "*.jpg", one, "--out", tmp_path, "--score", 0.0, "--save-images")
    entries = json.loads((tmp_path / "detections.json").read_text())
    assert {entry["file_name"] for entry in entries} == {str(file) for file in folder.iterdir()}
    assert {"image_id", "category_id", "bbox", "score", "category"} <= entries[0].keys()
    assert len(list(tmp_path.glob("*.jpg"))) == 3
    assert Image.open(tmp_path / one.name).width == 7 * 64  # small pictures are enlarged
    assert str(one) in result.stdout


def test_predict_goes_on_past_a_broken_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    Image.new("RGB", (40, 30)).save(tmp_path / "black.png")
    result = boxwright("predict", run, tmp_path, "--out", tmp_path / "out")
    assert "left out" in result.stdout
    assert "broken.jpg" in result.stdout
    assert "black.png" in result.stdout


def test_check_prints_json(digits: Path) -> None:
    report = json.loads(boxwright("check", digits, "--json").stdout)
    assert report["images"] == 14
    assert not [finding for finding in report["findings"] if finding["severity"] == "error"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere"], "nowhere"),
        (["train", "nowhere"], "nowhere"),
        (["train", "DIGITS", "--set", "lrr=1"], "did you mean 'lr'"),
        (["train", "DIGITS", "--set", "minutes=1"], "use --minutes"),
        (["train", "DIGITS", "--recipe", "lite32"], "did you mean 'lite320'"),
        (["train", "DIGITS", "--classes", "cat"], "cat"),
        (["train", "DIGITS", "--split", "trian"], "train"),
        (["train", "DIGITS", "--epochs", "1", "--minutes", "1"], "--epochs, --minutes and --steps"),
        (["train", "DIGITS", "--set", "backbone=resnet19"], "resnet"),
        (["train", "EMPTY"], "EMPTY"),
        (["eval", "nowhere", "DIGITS"], "nowhere"),
        (["eval", "nowhere.json", "DIGITS"], "nowhere.json"),
        (["eval", "RUN", "DIGITS", "--split", "dev"], "dev"),
        (["eval", "RUN", "DIGITS", "--nms", "hard"], "nms"),
        (["eval", "RUN", "DIGITS", "--set", "lr=1"], "lr"),
        (["eval", "RESULTS.json", "DIGITS", "--nms", "diou"], "--nms is for runs"),
        (["predict", "RUN", "nowhere/*.jpg"], "no image at nowhere"),
        (["predict", "nowhere", "DIGITS"], "nowhere"),
        (["recipe", "show", "lite"], "lite320"),
        (["inspect", "DIGITS", "--out", "RUN/recipe.yaml/found.html"], "recipe.yaml"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    run: Path,
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "RESULTS.json").write_text("[]")
    places = {"DIGITS": str(digits), "RUN": str(run)}
    places |= {name: str(tmp_path / name) for name in ("EMPTY", "RESULTS.json")}
    arguments = [places.get(a, a.replace("RUN/", f"{run}/")) for a in arguments]
    monkeypatch.setattr(sys, "argv", ["boxwright", *arguments])
    from boxwright.cli import main

    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "command",
    [
        "train DIGITS --out FILE",
        "eval RUN DIGITS --save-detections FOLDER",
        "eval RUN DIGITS --save-targets FOLDER",
        "predict RUN DIGITS --out FILE",
        "demo --out FILE",
        "import torchvision ssd300_vgg16 FILE --out FILE",
        "compare DIGITS --vary box_loss=ciou --out FILE",
        "inspect DIGITS --out FOLDER",
        "hardest DIGITS --run RUN --out FOLDER",
        "simulate --out FILE",
        "reproduce all --out FILE",
        "reproduce all --page FOLDER",
    ],
)
def test_a_file_is_no_folder_and_a_folder_no_file(command: str, run: Path, digits: Path, tmp_path: Path) -> None:
    """Told before anything is computed."""
    (tmp_path / "file").touch()
    places = {"DIGITS": digits, "RUN": run, "FILE": tmp_path / "file", "FOLDER": tmp_path}
    result = CliRunner().invoke(app, [str(places.get(word, word)) for word in command.split()])
    assert result.exit_code == 2
    assert "Invalid value" in result.output
    assert isinstance(result.exception, SystemExit)


def test_recipe_show_is_a_recipe_file(tmp_path: Path) -> None:
    from boxwright.recipes import get_recipe, list_recipes

    shown = boxwright("recipe", "show", "lite320", "--set", "lr=0.5").stdout
    (tmp_path / "shown.yaml").write_text(shown)
    assert get_recipe(tmp_path / "shown.yaml") == get_recipe("lite320", lr=0.5)
    assert "[--set]" in shown
    assert boxwright("recipe", "list").stdout.split() == list_recipes()


def test_version_is_the_environment_in_a_line() -> None:
    line = boxwright("--version").stdout
    assert line.count("\n") == 1
    assert "torch" in line


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from boxwright.cli.app import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'lightning', 'matplotlib', 'timm', 'numpy'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert app.info.name == "boxwright"
