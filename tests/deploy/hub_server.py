"""A hub on this machine: the part of the Hugging Face hub's interface that a model needs."""

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """A server of repositories.

    Attributes:
        files: By the name of each repository, the content of its files by path.
        refusal: Status that all requests are answered with; None for none.
        created: What was asked of each new repository.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.refusal, self.created = {}, None, []
        self.url = f"http://127.0.0.1:{self.server_port}"
        Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        hub, path = self.server, self.path.partition("?")[0]
        if hub.refusal:
            return self._answer({"error": "refused"}, hub.refusal)
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            hub.created.append(asked)
            status = 409 if name in hub.files else 200
            hub.files.setdefault(name, {})
            return self._answer({"url": f"{hub.url}/{name}", "id": name, "name": name}, status)
        if path.endswith("/preupload/main"):
            asked = json.loads(body)["files"]
            kinds = [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in asked
            ]
            return self._answer({"files": kinds})
        if "/commit/" in path:
            name = "/".join(path.split("/")[3:5])
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    hub.files[name][value["path"]] = base64.b64decode(value["content"])
            address = f"{hub.url}/{name}/commit/{COMMIT}"
            return self._answer({"commitUrl": address, "commitOid": COMMIT, "success": True})
        return self._answer({}, 200)  # The check of the card's metadata.

    def do_GET(self):
        hub, parts = self.server, self.path.partition("?")[0].strip("/").split("/")
        if hub.refusal:
            return self._answer({"error": "refused"}, hub.refusal)
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[:2])
        if name not in hub.files:
            told = {"X-Error-Code": "RepoNotFound"}
            return self._answer({"error": "Repository not found"}, 404, told)
        if parts[0] == "api" and "tree" in parts:
            return self._answer(
                [
                    {"type": "file", "path": path, "size": len(content), "oid": _digest(content)}
                    for path, content in hub.files[name].items()
                ]
            )
        if parts[0] == "api":
            files = [{"rfilename": path} for path in hub.files[name]]
            return self._answer({"id": name, "sha": COMMIT, "siblings": files})
        content = hub.files[name].get("/".join(parts[4:]))
        if content is None:
            return self._answer({}, 404, {"X-Error-Code": "EntryNotFound"})
        told = {"ETag": f'"{_digest(content)}"', "X-Repo-Commit": COMMIT}
        return self._answer(content, 200, told)

    do_HEAD = do_GET

    def _answer(self, content, status=200, headers=()):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _digest(content):
    return hashlib.sha1(content).hexdigest()
