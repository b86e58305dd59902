"""Listen, answer until a signal, and tell browsers what the page may do: nothing but its own."""

from __future__ import annotations

import ipaddress
import os
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cellseg.errors import CellsegError

# The one inline style that is allowed, by its content: OpenSeadragon's own, which it adds itself.
_VIEWER_STYLE = "sha256-9xTiqzfwFaL2SGb1rmr8gysEwVVjIvqWAgmZgqFqpEE="
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; "
    f"style-src 'self' '{_VIEWER_STYLE}'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
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


def make_server(app: ASGIApp, clean_up: Callable[[], object] = lambda: None) -> PageServer:
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
