"""Let through what the page itself asks for, and nothing else.

Gradio answers about 70 kinds of requests, trusts the paths and addresses in them, and checks files
only in apps that it has launched itself. Here a request is refused unless its address, and each
value that it brings, is of the kind that the page sends.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cellseg.web.inbox import Inbox

MAX_CALL_BYTES = 2**16
_IDLE_S = 60.0
_MULTIPART_BYTES = 2**14  # what a form adds to its file
_UPLOAD = "/gradio_api/upload"
_CALLS = ("/gradio_api/run/predict", "/gradio_api/queue/join")
_POSTED = (_UPLOAD, *_CALLS, "/gradio_api/reset", "/gradio_api/cancel")
_READ = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt"
    r"|/(static|assets)/[\w./@+-]+|/cells/[\w-]+/[\w-]+/\w+"
    r"|/gradio_api/(startup-events|app_id/?|queue/data|upload_progress|heartbeat/[\w-]{1,64})"
)
_SESSION = re.compile(r"[\w-]{1,64}")


class RefusedError(Exception):
    """A request that the page does not make, with the status and words of the answer."""

    def __init__(self, status: int, words: str) -> None:
        """Keep both."""
        super().__init__(words)
        self.status, self.words = status, words


class GuardMiddleware:
    """Refuse requests that the page does not make.

    Args:
        app: The application.
        inputs: What each of the page's functions takes: 'file', 'score' or 'flag', by its number.
        inbox: Where uploads arrive.
        password: Asked of every request, with any user name; none when None.
    """

    def __init__(
        self,
        app: ASGIApp,
        inputs: Mapping[int, Sequence[str]],
        inbox: Inbox,
        password: str | None = None,
    ) -> None:
        """Keep the parts; see the class."""
        self._app, self._inputs, self._inbox, self._password = app, inputs, inbox, password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        try:
            scope = check_request(scope, self._password)
            path = scope["path"].rstrip("/") or "/"
            if scope["method"] in ("GET", "HEAD"):
                await self._app(scope, receive, send)
            elif path == _UPLOAD:
                await self._take_upload(scope, receive, send)
            else:
                body = await _read_body(receive, MAX_CALL_BYTES)
                if path in _CALLS:
                    body = check_call(body, self._inputs, self._inbox)
                await self._app(*_replay(scope, body, receive), send)
        except RefusedError as refused:
            headers = {"www-authenticate": "Basic"} if refused.status == 401 else None
            answer = PlainTextResponse(refused.words, refused.status, headers)
            await answer(scope, receive, send)

    async def _take_upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let Gradio store a file, bounded in size and time, and give it a name of our own."""
        if not self._inbox.begin():
            raise RefusedError(503, "Too many uploads at a time; try again in a minute.")
        left = self._inbox.max_bytes + _MULTIPART_BYTES

        async def receive_bounded() -> Message:
            nonlocal left
            message = await _receive_in_time(receive)
            left -= len(message.get("body", b""))
            if left < 0:
                raise RefusedError(413, "The file is larger than the maximum allowed size.")
            return message

        answer = _Answer()
        try:
            await self._app(scope, receive_bounded, answer.send)
            if answer.status == 200:
                paths = [self._inbox.add(path) for path in json.loads(bytes(answer.body))]
                await JSONResponse(paths)(scope, receive, send)
                return
        finally:
            self._inbox.end()
        await Response(bytes(answer.body), answer.status or 400)(scope, receive, send)


def check_request(scope: Scope, password: str | None = None) -> Scope:
    """Check the address, origin and password of a request.

    Args:
        scope: The request.
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
    if password is not None and not _knows(headers.get("authorization", ""), password):
        raise RefusedError(401, "This page asks for a password.")
    origin = headers.get("origin")
    is_foreign = origin is not None and urlsplit(origin).netloc != headers.get("host")
    is_visit = scope["method"] in ("GET", "HEAD") and scope["path"] == "/"  # a link to the page
    if is_foreign or (headers.get("sec-fetch-site") == "cross-site" and not is_visit):
        raise RefusedError(403, "Requests of other sites are not answered.")
    path, method = scope["path"], scope["method"]
    is_plain = ".." not in path and "//" not in path
    is_read = method in ("GET", "HEAD") and is_plain and _READ.fullmatch(path)
    if not is_read and not (method == "POST" and (path.rstrip("/") or "/") in _POSTED):
        raise RefusedError(404, "There is nothing at this address.")
    return {**scope, "headers": kept}


def check_call(body: bytes, inputs: Mapping[int, Sequence[str]], inbox: Inbox) -> bytes:
    """Check a call of one of the page's functions.

    Args:
        body: JSON.
        inputs: What each function takes.
        inbox: The uploads that there are.

    Returns:
        The same call with nothing in it but what was checked.

    Raises:
        RefusedError: If it is none, or a value is not of its kind.
    """
    try:
        call = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "The call is not valid JSON.") from error
    if not isinstance(call, dict):
        raise RefusedError(400, "The call must be a JSON object.")
    number, values = call.get("fn_index"), call.get("data")
    if not isinstance(number, int) or isinstance(number, bool) or number not in inputs:
        raise RefusedError(404, "There is no such function.")
    kinds = inputs[number]
    if not isinstance(values, list) or len(values) != len(kinds):
        raise RefusedError(400, f"The function takes {len(kinds)} values.")
    session, trigger = call.get("session_hash"), call.get("trigger_id")
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        raise RefusedError(400, "session_hash must be a short word.")
    checked = {
        "data": [
            _check_value(value, kind, inbox) for value, kind in zip(values, kinds, strict=True)
        ],
        "event_data": None,
        "fn_index": number,
        "trigger_id": trigger if isinstance(trigger, int) else None,
        "session_hash": session,
    }
    return json.dumps(checked).encode()


def _check_value(value: Any, kind: str, inbox: Inbox) -> Any:
    """Check one value; a file must be an upload that no page has taken yet."""
    if kind == "file":
        if value is None:
            return None
        path = value.get("path") if isinstance(value, dict) else None
        if not isinstance(path, str) or path not in inbox:
            raise RefusedError(400, "The file is no upload of this page; drop it again.")
        return {"path": path, "meta": {"_type": "gradio.FileData"}}
    if kind == "flag" and isinstance(value, bool):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "score" and is_number and math.isfinite(value) and 0 <= value <= 1:
        return float(value)
    raise RefusedError(400, f"A value is not a {kind}.")


def _knows(header: str, password: str) -> bool:
    """Return whether an Authorization header brings the password."""
    try:
        given = base64.b64decode(header.removeprefix("Basic "), validate=True)
    except ValueError:
        return False
    return secrets.compare_digest(given.partition(b":")[2], password.encode())


async def _receive_in_time(receive: Receive) -> Message:
    """Receive the next part of a request, unless its sender falls silent."""
    try:
        return await asyncio.wait_for(receive(), _IDLE_S)
    except TimeoutError as error:
        raise RefusedError(408, "The request took too long.") from error


async def _read_body(receive: Receive, most: int) -> bytes:
    """Read the body of a request, up to so many bytes."""
    body = bytearray()
    while True:
        message = await _receive_in_time(receive)
        body += message.get("body", b"")
        if len(body) > most:
            raise RefusedError(413, "The call is too long.")
        if not message.get("more_body"):
            return bytes(body)


def _replay(scope: Scope, body: bytes, receive: Receive) -> tuple[Scope, Receive]:
    """Make a request of another body."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    headers.append((b"content-length", str(len(body)).encode()))
    given = False

    async def receive_body() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return {**scope, "headers": headers}, receive_body


class _Answer:
    """Hold an answer back."""

    def __init__(self) -> None:
        """Start without one."""
        self.status = 0
        self.body = bytearray()

    async def send(self, message: Message) -> None:
        """Take a part of it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.body += message.get("body", b"")
