"""The routes: what is answered, what is refused and how, and that nothing is left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from made_up_model import MadeUp, picture
from PIL import Image

testclient = pytest.importorskip(
    "starlette.testclient", reason="starlette and httpx are not installed", exc_type=Exception
)
pytest.importorskip("prometheus_client", reason="prometheus-client is not installed")
from boxwright.errors import RecipeError  # noqa: E402
from boxwright.serve import Limits, make_app  # noqa: E402

LIMITS = Limits(body=20_000, pixels=10_000, images=3, queue=4, batch=4, delay=0.01, patience=0.2)


@pytest.fixture
def model() -> MadeUp:
    return MadeUp()


@pytest.fixture
def client(model: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with testclient.TestClient(make_app(model, LIMITS), raise_server_exceptions=False) as found:  # type: ignore[arg-type]
        yield found
        model.go.set()
        assert not [path for path in tmp_path.rglob("*") if path.is_file()], "an image was left behind"
    assert not list(tmp_path.iterdir()), "a folder was left behind"


def test_one_image_as_bytes(client: Any) -> None:
    answer = client.post("/predict", content=picture(40, 30))
    assert answer.status_code == 200
    found = {"label": 0, "class": "cat", "score": 0.5, "box": [0, 0, 40, 30]}
    assert answer.json() == {"images": [{"name": None, "height": 30, "width": 40, "detections": [found]}]}


def test_exif_is_followed(client: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (image,) = client.post("/predict", content=picture(40, 30, "JPEG", exif=exif)).json()["images"]
    assert (image["height"], image["width"]) == (40, 30)


def test_several_images_keep_their_order_and_names(client: Any, model: MadeUp) -> None:
    files = [("images", ("../ä.png", picture(10, 20))), ("x", ("b", b"no image")), ("images", ("c", picture(30, 40)))]
    images = client.post("/predict", files=files).json()["images"]
    assert [image["name"] for image in images] == ["../ä.png", "b", "c"]
    assert [image.get("width") for image in images] == [10, None, 30]
    assert images[1] == {"name": "b", "error": "not a readable image (cannot identify the format)"}


def test_the_score(client: Any) -> None:
    def found(score: str) -> int:
        return len(client.post(f"/predict?score={score}", content=picture()).json()["images"][0]["detections"])

    assert (found("0.4"), found("0.5"), found("1")) == (1, 0, 0)
    for bad in ("nan", "2", "-1", "x", ""):
        answer = client.post(f"/predict?score={bad}", content=picture())
        assert (answer.status_code, answer.json()) == (400, {"error": f"Expected a score in 0..1 but got {bad}"})


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        (b"", 400, "the body is empty"),
        (b"GIF89a", 422, "not a readable image"),
        (picture()[:-40], 422, "not a readable image"),
        (picture(101, 100), 422, "refused, 101x100 pixels are more than 10000"),
        (b"x" * 20_001, 413, "the body is larger than 20000 bytes"),
    ],
)
def test_bad_bodies(client: Any, model: MadeUp, content: bytes, status: int, said: str) -> None:
    for body in (content, iter([content])):  # with and without a declared length
        answer = client.post("/predict", content=body)
        assert answer.status_code == status
        assert said in answer.json()["error"]
        assert "boxwright-serve" not in answer.text, "a path of the server's"
    assert not model.batches


FORM = {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"Content-Type": "multipart/form-data"}, b"--b--", 400),
        (FORM, b"", 400),
        (FORM, b"no form", 400),
        (FORM, b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n", 400),
        (FORM, b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n', 400),
        (FORM, b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nx', 400),
        (FORM, b"--b\r\n" + b"A" * 9000 + b": x\r\n\r\n\r\n--b--\r\n", 400),
        (FORM, b"--b\xff\xfe\r\n\x00\r\n--b--", 400),
    ],
)
def test_malformed_forms(client: Any, headers: dict[str, str], content: bytes, status: int) -> None:
    answer = client.post("/predict", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]


def test_more_images_than_a_request_may_have(client: Any) -> None:
    answer = client.post("/predict", files=[("images", ("a", picture()))] * 4)
    assert answer.status_code == 413
    assert client.post("/predict", files=[("images", ("a", picture()))] * 3).status_code == 200


def test_full_is_503_and_passes(client: Any, model: MadeUp) -> None:
    model.go.clear()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client.post, "/predict", content=picture()) for _ in range(4)]
        _until(lambda: client.get("/health").json()["images"] == 4)
        refused = client.post("/predict", content=picture())
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        model.go.set()
        assert [each.result().status_code for each in waiting] == [200] * 4
    assert client.post("/predict", content=picture()).status_code == 200
    assert client.get("/health").json() == {"status": "ok", "images": 0}


def test_what_came_together_is_computed_together(client: Any, model: MadeUp) -> None:
    model.go.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(client.post, "/predict", content=picture())
        assert model.asked.wait(30)
        others = [pool.submit(client.post, "/predict", content=picture()) for _ in range(3)]
        _until(lambda: client.get("/health").json()["images"] == 4)
        time.sleep(0.05)
        model.go.set()
        assert {each.result().status_code for each in (first, *others)} == {200}
    assert model.batches == [1, 3]


def test_a_model_that_breaks_is_500_and_passes(client: Any, model: MadeUp) -> None:
    model.fails = True
    broken = client.post("/predict", content=picture())
    assert (broken.status_code, broken.json()) == (500, {"error": "the server failed; its log says how"})
    model.fails = False
    assert client.post("/predict", content=picture()).status_code == 200
    assert 'requests_total{status="500"} 1.0' in client.get("/metrics").text


def test_the_other_routes(client: Any) -> None:
    client.post("/predict", content=picture())
    client.post("/predict", content=b"x")
    assert client.get("/model").json() == {"classes": ["cat", "dög"]}
    metrics = client.get("/metrics").text
    for line in (
        'boxwright_requests_total{status="200"} 1.0',
        'boxwright_requests_total{status="422"} 1.0',
        'boxwright_images_total{outcome="unreadable"} 1.0',
        "boxwright_queue_images 0.0",
        "boxwright_request_seconds_count 2.0",
    ):
        assert line in metrics
    api = client.get("/openapi.json").json()
    assert set(api["paths"]) == {"/predict", "/model", "/health", "/metrics"}
    assert {"400", "408", "413", "422", "503", "200"} == set(api["paths"]["/predict"]["post"]["responses"])
    page = client.get("/docs").text
    assert "POST /predict" in page
    assert page.count(f"{client.base_url}/predict") == 2
    assert "http" not in page.replace(str(client.base_url), ""), "the page loads something"
    missing = client.get("/no")
    assert (missing.status_code, missing.json()) == (404, {"error": "Not Found"})
    assert client.get("/predict").status_code == 405


@pytest.mark.parametrize("name", ["body", "pixels", "images", "queue", "batch", "patience", "connections"])
def test_limits_are_positive(name: str) -> None:
    for bad in (0, -1, float("nan"), float("inf")):
        with pytest.raises(RecipeError, match=f"Expected {name} above 0"):
            Limits(**{name: bad})
    assert Limits(delay=0).delay == 0
    with pytest.raises(RecipeError, match="images of a request, 5, to fit the queue of 4"):
        Limits(images=5, queue=4)


def _until(true: Any) -> None:
    waited = threading.Event()
    for _ in range(600):
        if true():
            return
        waited.wait(0.01)
    raise AssertionError("it never came true")
