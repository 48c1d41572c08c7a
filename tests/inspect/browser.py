"""The page's script run outside of the page: by node, or by a headless Chromium where there is none."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from chromium import CHROMIUM, FLAGS

SCRIPT = files("boxwright.inspect").joinpath("inspect.js").read_text(encoding="utf-8")


def run_script(body: str, given: Any, folder: Path) -> Any:
    """What the JavaScript function of this body returns for ``given``, with the script's functions at hand.

    Skips the test where there is neither node nor Chromium.
    """
    program = f"const given = {json.dumps(given)};\nconst result = (() => {{ {body} }})();\n"
    if node := shutil.which("node"):
        path = folder / "script.js"
        path.write_text(f"{SCRIPT}\n{program}process.stdout.write(JSON.stringify(result));", encoding="utf-8")
        answer = subprocess.run([node, path], capture_output=True, text=True, check=True).stdout
    elif CHROMIUM:
        answer = _in_chromium(program, folder)
    else:
        pytest.skip("neither node nor Chromium is here to run the page's script")
    return json.loads(answer)


def _in_chromium(program: str, folder: Path) -> str:
    page = folder / "script.html"
    library = SCRIPT.replace('typeof document !== "undefined"', "false")
    page.write_text(
        f'<meta charset="utf-8"><pre id="answer"></pre><script>{library}\n{program}'
        'document.getElementById("answer").textContent = JSON.stringify(result);</script>',
        encoding="utf-8",
    )
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r'<pre id="answer">(.*?)</pre>', dom, re.DOTALL)
    assert found
    return html.unescape(found.group(1))
