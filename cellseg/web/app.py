"""The page as an application: its addresses, and one sentence for each error."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cellseg.errors import CellsegError
from cellseg.web.calls import PageCalls, PageService, send_json
from cellseg.web.cell_edits import EditError
from cellseg.web.guard import GuardMiddleware, RefusedError
from cellseg.web.inbox import read_body
from cellseg.web.own_names import OwnNames, find_own_names
from cellseg.web.server import HeaderMiddleware
from cellseg.web.sessions import FullError

MAX_CALL_BYTES = 2**20

Answer = Callable[[Request], Awaitable[Response]]


def build_app(
    service: PageService, names: OwnNames | None = None, password: str | None = None
) -> Starlette:
    """Put the page together.

    Args:
        service: What stands behind it.
        names: What requests may call it; the names of loopback when None.
        password: Asked of every request; none when None.

    Returns:
        The application.
    """
    names = find_own_names("127.0.0.1") if names is None else names
    guard = Middleware(GuardMiddleware, names=names, password=password)
    calls = PageCalls(service)
    image = "/api/images/{key}"
    reads: dict[str, Callable[[Request], Response]] = {
        "/": calls.send_page,
        "/favicon.ico": calls.send_icon,
        "/static/{name:path}": calls.send_static,
        "/api/state": calls.send_state,
        "/api/training-data": calls.send_training_data,
        image: calls.send_image,
        f"{image}/cells": calls.send_cells,
        f"{image}/job": calls.send_job,
        f"{image}/tiles/{{level:int}}/{{column:int}}/{{row:int}}": calls.send_tile,
        f"{image}/export/{{kind}}": calls.send_download,
    }
    changes: dict[str, Callable[[Request, Mapping[str, Any]], Response]] = {
        f"{image}/edit": calls.edit,
        f"{image}/undo": calls.undo,
        f"{image}/redo": calls.redo,
        f"{image}/predict": calls.predict,
        f"{image}/cancel": calls.cancel,
        f"{image}/remove": calls.remove,
    }
    routes = [Route(path, _as_read(call), methods=["GET"]) for path, call in reads.items()]
    routes += [Route(path, _as_change(call), methods=["POST"]) for path, call in changes.items()]
    routes.append(Route("/api/images", _as_answer(calls.receive_upload), methods=["POST"]))
    return Starlette(routes=routes, middleware=[Middleware(HeaderMiddleware), guard])


def _as_read(call: Callable[[Request], Response]) -> Answer:
    """Make an endpoint of a method that only reads."""

    async def read(request: Request) -> Response:
        return await run_in_threadpool(call, request)

    return _as_answer(read)


def _as_change(call: Callable[[Request, Mapping[str, Any]], Response]) -> Answer:
    """Make an endpoint of a method that takes a JSON object."""

    async def change(request: Request) -> Response:
        body = await read_body(request.receive, MAX_CALL_BYTES)
        try:
            values = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, "The request is not valid JSON.") from error
        if not isinstance(values, dict):
            raise RefusedError(400, "The request must be a JSON object.")
        return await run_in_threadpool(call, request, values)

    return _as_answer(change)


def _as_answer(call: Answer) -> Answer:
    """Turn errors that a reader can cause into one sentence."""

    async def answer(request: Request) -> Response:
        try:
            return await call(request)
        except RefusedError as error:
            return send_json({"error": error.words}, error.status)
        except EditError as error:
            return send_json({"error": str(error)}, 400)
        except FullError as error:
            return send_json({"error": str(error)}, 503)
        except CellsegError as error:
            return send_json({"error": str(error)}, 422)
        except TimeoutError:
            return send_json({"error": "The request took too long; try again."}, 408)
        except OSError as error:
            words = f"The disk of the server cannot be used ({error.strerror})"
            return send_json({"error": f"{words}; tell its administrator."}, 507)

    return answer
