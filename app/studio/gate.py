"""What stands before every request: which hosts, which origins, which addresses, who, how much, and with which headers it goes back.

The page is Gradio's, and Gradio has many addresses (proxies, files by path, monitoring, code assistants). Only those that our page and
`gradio_client` need are open; all others do not exist here.
"""

import json
import re
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.studio.accounts import COOKIE, LOCAL, Accounts

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_OPEN = {"/login", "/healthz", "/favicon.ico", "/robots.txt"}
"""Without a login."""
_EXACT = _OPEN | {"/", "/logout", "/status", "/openapi.json", "/config", "/theme.css", "/manifest.json"}
_GRADIO = re.compile(
    r"/gradio_api/(upload|upload_progress|info|openapi\.json|queue/join|queue/data|run/[\w.-]+|api/[\w.-]+|call/[\w.-]+(/[\w-]+)?|call/v2/[\w.-]+"
    r"|heartbeat/[\w-]+|cancel|reset|startup-events|theme\.css|app_id|login_check|user|token)/?"
)
_PREFIXES = ("/files/", "/assets/", "/static/", "/svelte/")
_SMALL_BODY = 2 * 2**20

PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    "connect-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; frame-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""Nothing from anywhere else. Gradio's own scripts need inline code and `new Function`."""
MADE_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "media-src data: blob:; connect-src data: blob:; worker-src blob:; frame-ancestors 'self'"
)
"""For pages that we made of people's photos: an origin of their own, without cookies and without the network."""


class _TooLarge(Exception):
    pass


class Gate:
    """ASGI middleware around everything."""

    def __init__(self, app: Any, accounts: Accounts | None, hosts: frozenset[str] | None, most_upload: int, log: Path | None = None) -> None:
        """Args:
        hosts: names that the server answers to, without ports; None: any (behind a tunnel or a name of the owner's).
        """
        self.app, self.accounts, self.hosts, self.most_upload, self.log = app, accounts, hosts, most_upload, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, path, method = time.perf_counter(), scope["path"], scope["method"]
        status = [0]

        async def sent(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                message["headers"] = _headers(message.get("headers", []), path)
            await send(message)

        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        user = self._who(headers)
        refusal = self._refused(path, method, headers, user)
        if refusal is not None:
            await _answer(sent, *refusal)
        else:
            scope["lumigraph_user"] = user
            limit = self.most_upload + 2**20 if path.startswith("/gradio_api/upload") else _SMALL_BODY
            try:
                await self.app(scope, _counted(receive, limit), sent)
            except _TooLarge:
                if not status[0]:
                    await _answer(sent, 413, f"That is more than the {limit // 2**20} MB allowed. Choose fewer or smaller photos.")
            except Exception as error:  # nonsense that Gradio stumbles over must not fill the log with its inside
                print(f"{method} of an address in {path.split('/')[1] or '/'}: {type(error).__name__}", file=sys.stderr, flush=True)
                if not status[0]:
                    await _answer(sent, 500, "The studio could not make sense of that.")
        if self.log is not None:
            self._note(path, method, status[0], time.perf_counter() - begun)

    def _who(self, headers: dict[str, str]) -> str | None:
        if self.accounts is None:
            return LOCAL
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return None
        return self.accounts.who(cookie.value if cookie else None)

    def _refused(self, path: str, method: str, headers: dict[str, str], user: str | None) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self.hosts is not None and _bare(host) not in self.hosts:
            return 400, "This server does not answer to that name."  # a page elsewhere that had its name point here
        if method not in ("GET", "HEAD"):
            if method != "POST":
                return 405, "Only GET and POST."
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != host:
                return 403, "Another page may not act here."
            if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "Another page may not act here."
        if path not in _EXACT and not path.startswith(_PREFIXES) and not _GRADIO.fullmatch(path):
            return 404, "There is nothing here."
        if "\0" in path or "\\" in path or any(part == ".." for part in path.split("/")):
            return 404, "There is nothing here."
        length = headers.get("content-length")
        if length is not None and (not length.isdigit() or int(length) > (self.most_upload + 2**20 if path.startswith("/gradio_api/upload") else _SMALL_BODY)):
            return 413, f"That is more than the {self.most_upload // 2**20} MB allowed. Choose fewer or smaller photos."
        if user is None and path not in _OPEN:
            if method == "GET" and path == "/":
                return 303, "/login"
            return 401, "Log in first."
        return None

    def _note(self, path: str, method: str, status: int, seconds: float) -> None:
        """One line: what kind of address, never which project, file, person or address."""
        shape = re.sub(r"^(/files/).*", r"\1*", path)
        shape = re.sub(r"(/heartbeat/|/call/[\w.-]+/).*", r"\1*", shape)
        if not (shape in _EXACT or shape == "/files/*" or _GRADIO.match(shape) or shape.startswith(("/assets/", "/static/"))):
            shape = "*"
        line = {"time": round(time.time(), 3), "event": "request", "method": method if method in ("GET", "POST", "HEAD") else "other", "path": shape, "status": status, "ms": round(1000 * seconds, 1)}
        with self.log.open("a") as file:  # type: ignore[union-attr]
            file.write(json.dumps(line) + "\n")


def _bare(host: str) -> str:
    """A host header's name, without port."""
    return host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0].lower()


def _headers(given: list[tuple[bytes, bytes]], path: str) -> list[tuple[bytes, bytes]]:
    ours = {
        b"x-content-type-options": b"nosniff", b"referrer-policy": b"same-origin", b"cross-origin-opener-policy": b"same-origin",
        b"cross-origin-resource-policy": b"same-origin", b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
        b"content-security-policy": (MADE_POLICY if path.startswith("/files/") else PAGE_POLICY).encode(),
    }  # fmt: skip
    kept = [(k, v) for k, v in given if k.lower() not in ours and k.lower() != b"server" and not k.lower().startswith(b"access-control-")]
    return kept + list(ours.items())


def _counted(receive: Receive, limit: int) -> Receive:
    """Bodies that state no length are counted as they come."""
    total = [0]

    async def counting() -> MutableMapping[str, Any]:
        message = await receive()
        if message["type"] == "http.request":
            total[0] += len(message.get("body", b""))
            if total[0] > limit:
                raise _TooLarge
        return message

    return counting


async def _answer(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    body = text.encode()
    if status == 303:
        headers, body = [(b"location", body)], b""
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
