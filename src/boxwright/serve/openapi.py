"""What the server offers, as OpenAPI 3.1 and as a page."""

from __future__ import annotations

from html import escape
from typing import Any

from boxwright._version import __version__
from boxwright.serve.limits import Limits

_NUMBER, _TEXT = {"type": "number"}, {"type": "string"}
_DETECTION = {
    "type": "object",
    "required": ["label", "class", "score", "box"],
    "properties": {
        "label": {"type": "integer", "description": "Place of the class among the model's."},
        "class": _TEXT,
        "score": {**_NUMBER, "minimum": 0, "maximum": 1},
        "box": {
            "type": "array",
            "items": _NUMBER,
            "minItems": 4,
            "maxItems": 4,
            "description": "x1, y1, x2, y2 in pixels of the image, turned as its EXIF orientation says.",
        },
    },
}
_IMAGE = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": ["string", "null"], "description": "The file's name in the form."},
        "height": {"type": "integer"},
        "width": {"type": "integer"},
        "detections": {"type": "array", "items": _DETECTION, "description": "By falling score."},
        "error": {**_TEXT, "description": "Why the image can't be read, in place of all else."},
    },
}
_ERROR = {"type": "object", "required": ["error"], "properties": {"error": _TEXT}}


def describe_api(limits: Limits, most_pixels: int) -> dict[str, Any]:
    """Describe the routes as OpenAPI 3.1."""
    failures = {
        "400": "A malformed body or score.",
        "408": f"The body didn't come within {limits.patience:g} seconds.",
        "413": f"More than {limits.body} bytes, or more than {limits.images} images.",
        "422": f"Not one image can be read, or all have more than {most_pixels} pixels.",
        "503": "Too many images wait: try again after Retry-After seconds.",
    }
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"images": {"type": "array", "items": binary}}}
    predict = {
        "summary": "Find objects in one image (its bytes), or in several (files of a form).",
        "parameters": [
            {
                "name": "score",
                "in": "query",
                "schema": {**_NUMBER, "minimum": 0, "maximum": 1},
                "description": "Keep detections above it; default: what the model's file says of each class.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": binary}, "multipart/form-data": {"schema": form}},
        },
        "responses": {
            "200": _json("An entry for each image, in their order.", _answer()),
            **{status: _json(text, _ERROR) for status, text in failures.items()},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "boxwright serve", "version": __version__},
        "paths": {
            "/predict": {"post": predict},
            "/model": {"get": _get("What the model's file says of itself.", "application/json")},
            "/health": {"get": _get("Whether the server answers, and how many images it has.", "application/json")},
            "/metrics": {"get": _get("Counters for Prometheus.", "text/plain")},
        },
    }


def _answer() -> dict[str, Any]:
    return {"type": "object", "required": ["images"], "properties": {"images": {"type": "array", "items": _IMAGE}}}


def _json(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _get(summary: str, kind: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": "As said.", "content": {kind: {}}}}}


def api_page(api: dict[str, Any], address: str) -> str:
    """Show the routes on one page that loads nothing; ``address`` is the server's for whoever asks, with a / behind."""
    rows = []
    for path, methods in api["paths"].items():
        for method, route in methods.items():
            rows.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(route['summary'])}</p>")
            rows += [
                f"<p><code>?{escape(given['name'])}=</code> {escape(given['description'])}</p>"
                for given in route.get("parameters", ())
            ]
            answers = "".join(
                f"<tr><td>{escape(status)}<td>{escape(each['description'])}"
                for status, each in route["responses"].items()
            )
            rows.append(f"<table>{answers}</table>")
    title = escape(f"{api['info']['title']} {api['info']['version']}")
    style = (
        "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}td{padding:0 1rem 0 0}"
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{style}</style><h1>{title}</h1>"
        f"<pre>curl --data-binary @a.jpg {escape(address)}predict\n"
        f"curl -F images=@a.jpg -F images=@b.jpg {escape(address)}predict</pre>"
        f'{"".join(rows)}<p><a href="openapi.json">openapi.json</a></p></html>'
    )
