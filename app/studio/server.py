"""The server: our own addresses (login, status, files), Gradio's page beneath them, the gate around both."""

import asyncio
import contextlib
import html
import json
import os
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from app.queue import Ticket
from app.studio.accounts import COOKIE, LASTS, LOCAL, Accounts, Brake, secret_of
from app.studio.desk import Desk
from app.studio.gate import Gate
from app.studio.options import StudioOptions
from data.errors import InputError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_UPLOADS_KEPT = 3600.0
"""Seconds after which what was uploaded but not taken in is deleted."""


def serve(options: StudioOptions) -> None:
    """Serve the studio until it is interrupted; what runs then is stopped, resumable, and gone on with at the next start.

    Raises:
        InputError: it is to be seen by others without a login, or no port is free.
    """
    import uvicorn

    check_exposure(options)
    listening = _listen(options.host, options.port)
    port = listening.getsockname()[1]
    desk = Desk(options)
    desk.claim()
    app = make_app(desk)
    address = f"http://{'localhost' if options.host in LOOPBACK else options.host}:{port}"
    print(f"Lumigraph studio: {address}\nProjects: {desk.root}\nStop it with Ctrl-C; what runs goes on at the next start.", file=sys.stderr, flush=True)
    if options.share:
        print(f"For everybody who has a login: {_tunnel(port)}", file=sys.stderr, flush=True)
    if options.open:
        import webbrowser

        threading.Timer(1.0, webbrowser.open, [address]).start()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=2, proxy_headers=False))
    server.run(sockets=[listening])


def check_exposure(options: StudioOptions) -> None:
    """Others may come in only through a login."""
    if options.users is None and (options.share or options.host not in LOOPBACK):
        how = "--share" if options.share else f"--host {options.host}"
        raise InputError(f"{how} would let others in without a login. Add users first: lumigraph studio --users FILE --add-user NAME, then start with --users FILE.")


def make_app(desk: Desk) -> Any:
    """The ASGI application. Starting it starts the queue."""
    # Uploads land beside the projects, so that taking them in moves nothing; no statistics go anywhere.
    uploads = desk.uploads
    uploads.mkdir(exist_ok=True, mode=0o700)
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(uploads), HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
    import gradio as gr
    from fastapi import FastAPI, Form, HTTPException, Query, Request
    from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

    from app.studio.page import FOOTER, build, looks

    options = desk.options
    accounts = None if options.users is None else Accounts(options.users, secret_of(desk.root))
    brake = Brake()
    if options.log is not None:
        desk.queue.on_end = _logging(options.log, desk.queue.on_end)

    @contextlib.asynccontextmanager
    async def life(_: Any) -> AsyncIterator[None]:
        desk.start()
        desk.queue.add(f"{LOCAL}/machine", "machine", "Measuring this machine", {"root": str(desk.root)}) if not (desk.root / "machine.json").exists() else None
        sweeper = asyncio.create_task(_sweeping(desk, uploads))
        yield
        sweeper.cancel()
        await asyncio.to_thread(desk.stop)

    app = FastAPI(title="Lumigraph studio", docs_url=None, redoc_url=None, lifespan=life)

    def user_of(request: Request) -> str:
        return str(request.scope["lumigraph_user"])

    @app.get("/healthz", response_class=Response)
    def health() -> Response:
        """Whether the server lives."""
        return Response("ok", media_type="text/plain")

    @app.get("/status")
    def status(request: Request, project: str = Query("", max_length=64)) -> JSONResponse:
        """What is going on: jobs of a project, and the queue."""
        try:
            return JSONResponse(desk.status(user_of(request), project or None), headers={"cache-control": "no-store"})
        except InputError as error:
            raise HTTPException(404, str(error)) from None

    @app.get("/files/{project}/{inner:path}", response_class=FileResponse)
    def file(request: Request, project: str, inner: str, download: bool = False) -> FileResponse:
        """A file of one of the user's projects."""
        try:
            path, kind = desk.file(user_of(request), project, inner)
        except InputError as error:
            raise HTTPException(404, str(error)) from None
        return FileResponse(path, media_type=kind, filename=path.name, content_disposition_type="attachment" if download else "inline", headers={"cache-control": "private, no-cache"})

    @app.get("/login", response_class=HTMLResponse)
    def login_page(request: Request) -> Response:
        """The login form; whoever is in already goes to the page."""
        if request.scope["lumigraph_user"] is not None:
            return RedirectResponse("/", 303)
        return HTMLResponse(_login_page(""))

    @app.post("/login")
    def login(request: Request, username: str = Form(max_length=64), password: str = Form(max_length=1000)) -> Response:
        """Log in; a cookie is the answer. Browsers go on to the page, programs get JSON."""
        if accounts is None:
            return JSONResponse({"success": True})
        address = f"address {request.client.host if request.client else ''}"
        keys = (address, f"user {username}")
        if (pause := brake.wait(*keys)) > 0:
            words = f"Too many wrong passwords. Try again in {int(pause) + 1} seconds."
            return _login_answer(request, words, 429, {"retry-after": str(int(pause) + 1)})
        if not accounts.right(username, password):
            brake.wrong(*keys)
            return _login_answer(request, "That name and password do not belong together.", 401)
        brake.right(*keys)
        answer: Response = RedirectResponse("/", 303) if _is_browser(request) else JSONResponse({"success": True})
        answer.set_cookie(COOKIE, accounts.token(username), max_age=int(LASTS), httponly=True, samesite="strict", secure=request.url.scheme == "https" or options.share, path="/")
        return answer

    @app.post("/logout")
    def logout() -> Response:
        """Log out."""
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer

    page = build(desk, with_login=accounts is not None)
    mounted = gr.mount_gradio_app(
        app, page, path="/", auth_dependency=lambda request: request.scope.get("lumigraph_user"), ssr_mode=False, run_history=False, footer_links=FOOTER,
        max_file_size=options.most_upload_mb * 2**20, allowed_paths=[], show_error=True, mcp_server=False, pwa=False, **looks(),
    )  # fmt: skip
    # Gradio checks that a file named as uploaded was uploaded only in pages that it launched itself; in one that is mounted it would copy any
    # file of this machine to where uploads lie.
    page.has_launched = True
    hosts = None if options.share or options.host not in LOOPBACK else LOOPBACK
    return Gate(mounted, accounts, hosts, options.most_upload_mb * 2**20, options.log)


async def _sweeping(desk: Desk, uploads: Path) -> None:
    """Now and then: uploads that nobody took in, projects that are to be deleted."""
    while True:
        await asyncio.to_thread(_sweep_uploads, uploads)
        await asyncio.to_thread(desk.sweep)
        await asyncio.sleep(600)


def _sweep_uploads(uploads: Path) -> None:
    for path in uploads.rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and time.time() - path.stat().st_mtime > _UPLOADS_KEPT:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _listen(host: str, port: int) -> socket.socket:
    """The first free port from ``port`` on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in range(port, port + 20):
        with contextlib.suppress(OSError, OverflowError):
            listening = socket.socket(family, socket.SOCK_STREAM)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind((host, candidate))
            except OSError:
                listening.close()
                raise
            return listening
    raise InputError(f"No port from {port} to {port + 19} is free at {host}. Choose another with --port.")


def _tunnel(port: int) -> str:
    from gradio import networking

    try:
        import secrets

        return str(networking.setup_tunnel("127.0.0.1", port, secrets.token_urlsafe(32), None, None))
    except Exception as error:  # whatever a download and a child process can raise
        raise InputError(f"--share needs the internet, and the tunnel could not be opened ({error}). Leave --share out, or use --host in your own network.") from None


def _is_browser(request: Any) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _login_answer(request: Any, words: str, status: int, headers: dict[str, str] | None = None) -> Any:
    from fastapi.responses import HTMLResponse, JSONResponse

    if _is_browser(request):
        return HTMLResponse(_login_page(words), status, headers)
    return JSONResponse({"detail": words}, status, headers)


def _login_page(words: str) -> str:
    told = f'<p role="alert">{html.escape(words)}</p>' if words else ""
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>Log in - Lumigraph</title><style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:90vh;margin:0}}
form{{display:grid;gap:.8rem;width:min(20rem,90vw)}}input,button{{font:inherit;padding:.5rem .7rem;border:1px solid #8888;border-radius:6px}}
button{{background:#3730a3;color:#fff;border:0;cursor:pointer}}label{{display:grid;gap:.2rem}}[role=alert]{{color:#b91c1c;margin:0}}
@media(prefers-color-scheme:dark){{[role=alert]{{color:#fca5a5}}}}</style>
<main><form method="post" action="/login"><h1>Lumigraph</h1>{told}<label>Name<input name="username" autocomplete="username" required autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label><button>Log in</button></form></main></html>"""


def _logging(path: Path, then: Any) -> Any:
    def ended(ticket: Ticket) -> None:
        line = {"time": round(time.time(), 3), "event": "job", "kind": ticket.kind, "status": ticket.status, "seconds": round(ticket.ended - ticket.started, 1) if ticket.started else 0}
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if then is not None:
            then(ticket)

    return ended
