"""A local stand-in of the Hugging Face Hub: as much of its HTTP API as pushing and fetching models takes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_made_up"


class Hub:
    """Repositories by name, each a list of commits, the last one first: file names -> contents."""

    def __init__(self) -> None:
        self.repos: dict[str, list[dict[str, bytes]]] = {}
        self.private: set[str] = set()
        self.asked: list[str] = []
        self.address = ""

    def put(self, repo: str, files: dict[str, bytes]) -> str:
        """Add a commit that has these files alone; return its hash."""
        self.repos.setdefault(repo, []).insert(0, files)
        return self.commit(repo)

    def commit(self, repo: str, place: int = 0) -> str:
        age = len(self.repos[repo]) - place
        return hashlib.sha1(f"{repo} {age}".encode()).hexdigest()

    def files(self, repo: str, revision: str) -> dict[str, bytes] | None:
        for place, files in enumerate(self.repos[repo]):
            if revision == self.commit(repo, place) or (place == 0 and revision == "main"):
                return files
        return None


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return self._send({"errors": [], "warnings": []})
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree|preupload|commit)/([^/]+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        repo = found[1] if found else file[1] if file else ""
        if repo not in self.hub.repos or (repo in self.hub.private and not self._is_known()):
            return self._fail(404, "RepoNotFound", "Repository not found")
        if file:
            return self._file(repo, file[2], file[3])
        assert found is not None
        if found[2] in ("preupload", "commit"):
            return self._commit(repo, found[2], body)
        return self._listing(repo, found[2], found[3] or "main")

    def _is_known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def _create(self, content: dict[str, Any]) -> None:
        repo = f"{content.get('organization') or 'jane'}/{content['name']}"
        if not self._is_known():
            return self._fail(401, "", "Invalid username or password.")
        if not repo.startswith("jane/"):
            return self._fail(403, "", "You don't have the rights to create a model under this namespace")
        if repo in self.hub.repos:
            return self._reply(409, json.dumps({"url": f"{self.hub.address}/{repo}"}).encode(), {})
        if content.get("private") or content.get("visibility") == "private":
            self.hub.private.add(repo)
        self.hub.put(repo, {".gitattributes": b""})
        return self._send({"url": f"{self.hub.address}/{repo}"})

    def _listing(self, repo: str, kind: str | None, revision: str) -> None:
        files = self.hub.files(repo, revision)
        if files is None:
            return self._fail(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if kind == "tree":
            rows = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            return self._send(rows)
        commit = self.hub.commit(repo, self.hub.repos[repo].index(files))
        return self._send({"id": repo, "sha": commit, "siblings": [{"rfilename": name} for name in files]})

    def _commit(self, repo: str, kind: str, body: bytes) -> None:
        if not self._is_known():
            return self._fail(403, "", "Forbidden: you must use a write token")
        if kind == "preupload":
            names = [file["path"] for file in json.loads(body)["files"]]
            return self._send(
                {"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]}
            )
        files = dict(self.hub.repos[repo][0])
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        commit = self.hub.put(repo, files)
        return self._send({"commitUrl": f"{self.hub.address}/{repo}/commit/{commit}", "commitOid": commit})

    def _file(self, repo: str, revision: str, name: str) -> None:
        files = self.hub.files(repo, revision)
        if files is None or name not in files:
            return self._fail(404, "EntryNotFound", "Entry not found")
        headers = {"ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"'}
        headers["X-Repo-Commit"] = self.hub.commit(repo, self.hub.repos[repo].index(files))
        return self._reply(200, files[name], headers)

    def _send(self, content: Any) -> None:
        self._reply(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _fail(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, "Content-Type": "application/json"}
        headers |= {"X-Error-Code": code} if code else {}
        self._reply(status, json.dumps({"error": message}).encode(), headers)

    def _reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def running_hub() -> Iterator[Hub]:
    """A Hub that answers at its ``address`` while the block runs."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
