"""Serve the page: its drawings and downloads, its limits, and what browsers are told of it."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, HTTPException, Response
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cellseg.errors import CellsegError
from cellseg.web.found_cells import DOWNLOADS
from cellseg.web.guard import GuardMiddleware
from cellseg.web.inbox import Inbox
from cellseg.web.page import STYLE, list_inputs
from cellseg.web.service import CellService

HEADERS = {
    # Whatever Gradio's page may ask for elsewhere, the browser does not.
    "content-security-policy": "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_LONGEST_END_S = 3.0
_GRACE_S = 1  # open pages hold a connection each, which would keep the server from ending


class HeaderMiddleware:
    """Add HEADERS to every answer.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Keep the application; see the class."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def build_app(
    service: CellService,
    page: gr.Blocks,
    inbox: Inbox,
    host: str = "127.0.0.1",
    password: str | None = None,
) -> FastAPI:
    """Put the page, its drawings and its downloads into one application.

    Args:
        service: Finds the cells.
        page: From `build_page`.
        inbox: Where uploads arrive: the folder GRADIO_TEMP_DIR.
        host: Address that is listened on. On loopback only requests that name it are answered, so
            that no other web site can reach the page through a name of its own.
        password: Asked of every request; none when None.

    Returns:
        The application.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    _add_files(app, service)
    app.add_middleware(GuardMiddleware, inputs=list_inputs(page), inbox=inbox, password=password)
    app.add_middleware(HeaderMiddleware)
    if is_loopback(host):
        names = ["localhost", "127.0.0.1", "[::1]", host]
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=names)
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        server_name=host,
        footer_links=[],
        run_history=False,
        max_file_size=service.limits.max_bytes,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=_make_theme(),
        css_paths=[STYLE],
    )


def _make_theme() -> gr.themes.Base:
    """Return Gradio's look with hints dark enough to be read on white."""
    return gr.themes.Default(primary_hue="indigo").set(body_text_color_subdued="*neutral_600")


def _add_files(app: FastAPI, service: CellService) -> None:
    """Serve drawings and downloads to whoever knows the page's token."""

    @app.get("/cells/{token}/{key}/{kind}")
    def send_file(token: str, key: str, kind: str, score: float, scores: bool = False) -> Response:
        session = service.store.find(token)
        found = session.found if session is not None else None
        if session is None or found is None or found.key != key:
            raise HTTPException(404, "This image is not kept any more; drop it again.")
        shown = found.at(score)
        headers = {"cache-control": "no-store"}
        if kind == "overlay":
            content = shown.encode_drawing(scores)
            return Response(content, media_type="image/png", headers=headers)
        if kind not in DOWNLOADS:
            raise HTTPException(404, f"There is no download {kind}.")
        name, content = shown.encode_download(kind, session.folder)
        headers["content-disposition"] = f'attachment; filename="{_to_ascii(name)}"'
        return Response(content, media_type="application/octet-stream", headers=headers)


def _to_ascii(name: str) -> str:
    """Bring a file name to what a header can hold."""
    return name.encode("ascii", "replace").decode().replace("?", "_")


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Open the socket that the page is served on.

    Args:
        host: Address to listen on.
        port: Port; any free one when 0.

    Returns:
        The listening socket.

    Raises:
        CellsegError: If the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise CellsegError(
            f"Port {port} of {host} cannot be used ({error}); choose another with --port."
        ) from error


def address_of(listener: socket.socket) -> str:
    """Return the address to open in a browser."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


class PageServer(uvicorn.Server):
    """A server that ends within seconds of a signal, whatever is under way."""

    def __init__(self, config: uvicorn.Config, clean_up: Callable[[], object]) -> None:
        """Keep what is to be done where the server has to be ended by force."""
        super().__init__(config)
        self._clean_up = clean_up
        self._timer: threading.Timer | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End; a network that computes cannot be asked to stop, so the process may have to."""
        super().handle_exit(sig, frame)
        if self._timer is None:
            self._timer = threading.Timer(_LONGEST_END_S, self._end_by_force)
            self._timer.daemon = True
            self._timer.start()

    def _end_by_force(self) -> None:
        """Clean up and end the process."""
        try:
            self._clean_up()
        finally:
            os._exit(0)


def make_server(app: FastAPI, clean_up: Callable[[], object] = lambda: None) -> PageServer:
    """Make the server of an application.

    Args:
        app: The application.
        clean_up: What is to be done where the process is ended by force.

    Returns:
        The server; `server.run(sockets=[listener])` serves until a signal.
    """
    options: dict[str, Any] = {"log_level": "critical", "access_log": False, "ws": "none"}
    config = uvicorn.Config(
        app, timeout_graceful_shutdown=_GRACE_S, proxy_headers=False, server_header=False, **options
    )
    return PageServer(config, clean_up)
