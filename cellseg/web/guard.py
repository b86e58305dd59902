"""Let through what the page itself asks for, and nothing else.

A request is refused unless its address and method are among those of the page, and it comes from
the page: other sites can neither send nor read anything.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Container
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_IMAGE = r"/api/images/[0-9a-z]{1,16}"
_READ = re.compile(
    r"/|/static/[\w./-]+|/api/state|/api/training-data|/favicon\.ico"
    rf"|{_IMAGE}(/(cells|job))?|{_IMAGE}/tiles/\d{{1,2}}/\d{{1,7}}/\d{{1,7}}|{_IMAGE}/export/[a-z]+"
)
_POSTED = re.compile(rf"/api/images|{_IMAGE}/(edit|undo|redo|predict|cancel|remove)")
MARK = "x-cellseg"
"""Header that the page sends with every change; a form of another site cannot."""


class RefusedError(Exception):
    """A request that is refused, with the status and words of the answer."""

    def __init__(self, status: int, words: str) -> None:
        """Keep both."""
        super().__init__(words)
        self.status, self.words = status, words


class GuardMiddleware:
    """Refuse requests that the page does not make.

    Args:
        app: The application.
        names: The `Host` headers that name the page.
        password: Asked of every request, with any user name; none when None.
    """

    def __init__(self, app: ASGIApp, names: Container[str], password: str | None = None) -> None:
        """Keep the parts; see the class."""
        self._app, self._names, self._password = app, names, password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        if scope["type"] != "http":
            return
        try:
            checked = check_request(scope, self._names, self._password)
        except RefusedError as refused:
            headers = {"www-authenticate": "Basic"} if refused.status == 401 else None
            answer = JSONResponse({"error": refused.words}, refused.status, headers)
            await answer(scope, receive, send)
            return
        await self._app(checked, receive, send)


def check_request(scope: Scope, names: Container[str], password: str | None = None) -> Scope:
    """Check the name, password, origin and address of a request.

    Args:
        scope: The request.
        names: The `Host` headers that name the page.
        password: The password; None where there is none.

    Returns:
        The request without what proxies add, which anybody could.

    Raises:
        RefusedError: If the page makes no such request, or another site makes it.
    """
    kept = [
        (name, value)
        for name, value in scope["headers"]
        if not name.lower().startswith((b"x-forwarded", b"forwarded", b"x-original", b"x-real"))
    ]
    headers = Headers(raw=kept)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or hosts[0] not in names:
        raise RefusedError(
            421,
            "This page does not answer to the host name that was asked for: open it by its IP "
            "address, or start it with --allow-host NAME.",
        )
    if password is not None and not _knows(headers.get("authorization", ""), password):
        raise RefusedError(401, "This page asks for a password.")
    path, method = scope["path"], scope["method"]
    origin = headers.get("origin")
    is_foreign = origin is not None and _find_host(origin) != hosts[0]
    is_visit = method in ("GET", "HEAD") and path == "/"  # a link to the page
    site = headers.get("sec-fetch-site", "same-origin")
    if is_foreign or (site not in ("same-origin", "none") and not is_visit):
        raise RefusedError(403, "Requests of other sites are not answered.")
    is_plain = ".." not in path and "//" not in path
    is_read = method in ("GET", "HEAD") and is_plain and _READ.fullmatch(path)
    is_change = method == "POST" and _POSTED.fullmatch(path)
    if not is_read and not is_change:
        raise RefusedError(404, "There is nothing at this address.")
    if is_change and headers.get(MARK) != "1":
        raise RefusedError(403, "Only the page itself may change anything.")
    return {**scope, "headers": kept}


def _find_host(origin: str) -> str:
    """Return the host and port of an origin; empty where it is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _knows(header: str, password: str) -> bool:
    """Return whether an Authorization header brings the password."""
    try:
        given = base64.b64decode(header.removeprefix("Basic "), validate=True)
    except ValueError:
        return False
    return secrets.compare_digest(given.partition(b":")[2], password.encode())
