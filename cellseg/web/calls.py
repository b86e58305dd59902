"""What the page asks for, one method for each kind of request."""

from __future__ import annotations

import mimetypes
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cellseg.web.cell_edits import EditError, make_step, read_points
from cellseg.web.edit_log import EditLog, EditStep, Outline
from cellseg.web.guard import RefusedError
from cellseg.web.inbox import Inbox
from cellseg.web.page_images import OpenImage, PageImage, make_printable
from cellseg.web.prediction import PredictionQueue
from cellseg.web.sessions import Session, SessionStore, make_token
from cellseg.web.takeaway import (
    DOWNLOADS,
    CellFilter,
    collect_cells,
    encode_download,
)
from cellseg.web.tile_pyramid import TILE_PX, ClosedImageError
from cellseg.web.training_data import ReviewedImage, write_training_data
from cellseg.web.uploads import UploadLimits, check_upload

STATIC = Path(__file__).parent / "static"
COOKIE = "cellseg"
_TOKEN = re.compile(r"[\w-]{20,64}")
_YEAR_S = 365 * 24 * 3600
_SCALES = (0.05, 20.0)
_NO_STORE = {"cache-control": "no-store"}


@dataclass(frozen=True)
class PageService:
    """What stands behind the page.

    Attributes:
        store: The sessions and the given images.
        queue: The model.
        limits: How large uploads may be.
        inbox: Takes uploads.
        score_thr: Where the slider of the score stands at first.
    """

    store: SessionStore
    queue: PredictionQueue
    limits: UploadLimits
    inbox: Inbox
    score_thr: float = 0.5

    def open(self, image: PageImage) -> OpenImage:
        """Open an image."""
        return self.queue.images.open(image)

    def check_room(self) -> None:
        """Raise RefusedError where the disk is too full for corrections."""
        if self.inbox.space is not None:
            self.inbox.space.check_step()

    def close(self) -> bool:
        """Stop predicting and close all files; what is on disk stays.

        Returns:
            Whether all computing has ended; a network cannot be stopped in between.
        """
        is_idle = self.queue.close()
        if is_idle:
            self.queue.images.close_all()
        return is_idle


class PageCalls:
    """The page's requests, one method each."""

    def __init__(self, service: PageService) -> None:
        """Keep the service and read the files of the page."""
        self._service = service
        self._files = {
            path.relative_to(STATIC).as_posix(): (path.read_bytes(), _find_media_type(path))
            for path in STATIC.rglob("*")
            if path.is_file()
        }

    def send_page(self, request: Request) -> Response:
        """Send the page, and name its reader."""
        response = Response(self._files["index.html"][0], media_type="text/html")
        response.headers["cache-control"] = "no-cache"
        if _read_token(request) is None:
            response.set_cookie(
                COOKIE, make_token(), max_age=_YEAR_S, httponly=True, samesite="strict"
            )
        return response

    def send_static(self, request: Request) -> Response:
        """Send one of the files that belong to the page."""
        found = self._files.get(request.path_params["name"])
        if found is None:
            raise RefusedError(404, "There is nothing at this address.")
        return Response(found[0], media_type=found[1], headers={"cache-control": "no-cache"})

    def send_icon(self, request: Request) -> Response:
        """Send the icon that browsers ask for."""
        return Response(self._files["icon.svg"][0], media_type="image/svg+xml")

    def send_state(self, request: Request) -> Response:
        """Describe the model, the limits and the images."""
        service, finder = self._service, self._service.queue.finder
        images = service.store.list_images(_read_token(request))
        return send_json(
            {
                "models": service.queue.models,
                "classes": list(finder.class_names),
                "colors": [list(color) for color in finder.palette],
                "lowest_score": finder.score_thr,
                "score": max(service.score_thr, finder.score_thr),
                "limits": service.limits.describe(),
                "max_bytes": service.limits.max_bytes,
                "images": [
                    {"key": image.key, "name": image.name, "given": image.is_given}
                    for image in images
                ],
            }
        )

    def send_image(self, request: Request) -> Response:
        """Return the size and pixel size of an image."""
        image = self._find(request)
        opened = self._service.open(image)
        pyramid = opened.pyramid
        return send_json(
            {
                "key": image.key,
                "name": image.name,
                "given": image.is_given,
                "width": pyramid.width,
                "height": pyramid.height,
                "highest": pyramid.highest,
                "tile": TILE_PX,
                "um": opened.pixel_size_um,
                "um_note": opened.note,
                "channels": list(opened.channels),
                "scale": [choice.describe() for choice in image.choices.values()][-1:],
                "revision": opened.log.revision,
            }
        )

    def send_cells(self, request: Request) -> Response:
        """Send all cells of an image."""
        with self._service.queue.images.hold(self._find(request)) as opened:
            cells = [cell.to_json() for cell in opened.log.cells.values()]
            return send_json({**_tell_state(opened.log), "cells": cells})

    def send_tile(self, request: Request) -> Response:
        """Send a tile."""
        image, place = self._find(request), request.path_params
        numbers = (place["level"], place["column"], place["row"])
        try:
            content = self._service.open(image).pyramid.encode_tile(*numbers)
        except ClosedImageError:  # by another request, between the two calls
            content = self._service.open(image).pyramid.encode_tile(*numbers)
        if content is None:
            raise RefusedError(404, "There is no such tile.")
        return Response(content, media_type="image/jpeg", headers=_NO_STORE)

    def send_job(self, request: Request) -> Response:
        """Return the progress of an image's prediction."""
        since = request.query_params.get("since", "0")
        number = int(since) if since.isdecimal() and len(since) < 10 else 0
        job = self._service.queue.describe(self._find(request), number)
        return send_json({"job": job})

    def send_download(self, request: Request) -> Response:
        """Send the cells that are shown in one of the formats."""
        image, kind = self._find(request), request.path_params["kind"]
        if kind not in DOWNLOADS:
            raise RefusedError(404, f"There is no download {kind}.")
        finder = self._service.queue.finder
        cells, opened = self._filter(CellFilter.read(request.query_params), image)
        found = collect_cells(cells, opened, finder.class_names)
        name, content = encode_download(kind, found, opened, image.stem, finder.palette)
        return _send_file(name, content)

    def send_training_data(self, request: Request) -> Response:
        """Send the reviewed regions of all images as a data folder.

        Of the filters, only the minimum score counts: cells that are hidden by class or area would
        be background inside a reviewed region.
        """
        wanted = CellFilter(CellFilter.read(request.query_params).score)
        reviewed = []
        for image in self._service.store.list_images(_read_token(request)):
            if image.has_corrections():
                cells, opened = self._filter(wanted, image)
                reviewed.append(
                    ReviewedImage(f"{image.stem}_{image.key}", opened, cells, opened.log.regions)
                )
        names = self._service.queue.finder.class_names
        with tempfile.TemporaryFile() as file:
            write_training_data(reviewed, names, file)
            file.seek(0)
            return _send_file("training-data.zip", file.read())

    async def receive_upload(self, request: Request) -> Response:
        """Take an image."""
        token = _read_token(request)
        if token is None:
            raise RefusedError(403, "Reload the page: it needs a cookie to tell its readers apart.")
        name = make_printable(request.query_params.get("name", "")[:1000]) or "image"
        inbox = self._service.inbox
        with inbox.place():
            session = await run_in_threadpool(self._service.store.open, token)
            folder = session.begin()
            try:
                declared = request.headers.get("content-length", "0")
                size = int(declared) if declared.isdecimal() and len(declared) < 20 else 0
                await inbox.store(request.receive, folder / "arriving", size)
                image = await run_in_threadpool(self._keep, session, folder, name)
            except BaseException:
                await run_in_threadpool(_remove_folder, folder)
                raise
        return send_json({"key": image.key, "name": image.name, "given": False})

    def _keep(self, session: Session, folder: Path, name: str) -> PageImage:
        """Check an upload that has arrived, and keep it under a name of our own."""
        suffix = check_upload(folder / "arriving", name, self._service.limits)
        path = (folder / "arriving").rename(folder / f"image{suffix}")
        image = session.add(folder, path, name)
        try:
            self._service.open(image)  # which says what is wrong with it, if anything
        except BaseException:
            session.remove(image.key)
            raise
        return image

    def edit(self, request: Request, values: Mapping[str, Any]) -> Response:
        """Change cells."""
        return self._change(
            request,
            values,
            lambda log, canvas: log.apply(make_step(log, canvas, values)),
        )

    def undo(self, request: Request, values: Mapping[str, Any]) -> Response:
        """Undo a step."""
        return self._change(request, values, lambda log, _: log.undo())

    def redo(self, request: Request, values: Mapping[str, Any]) -> Response:
        """Do a step again."""
        return self._change(request, values, lambda log, _: log.redo())

    def _change(
        self,
        request: Request,
        values: Mapping[str, Any],
        make: Callable[[EditLog, Any], EditStep | None],
    ) -> Response:
        """Change cells where the page knows what is there, and tell what has changed."""
        self._service.check_room()
        image = self._find(request)
        with self._service.queue.images.hold(image) as opened:
            log = opened.log
            if values.get("revision") != log.revision:
                raise RefusedError(409, "The cells were changed elsewhere; they are shown again.")
            step = make(log, image.canvas(len(self._service.queue.finder.class_names)))
            removed = [] if step is None else [cell.key for cell in step.removed]
            added = [] if step is None else [cell.to_json() for cell in step.added]
            name = None if step is None else step.name
            return send_json({**_tell_state(log), "step": name, "removed": removed, "added": added})

    def predict(self, request: Request, values: Mapping[str, Any]) -> Response:
        """Begin to find cells."""
        self._service.check_room()
        image = self._find(request)
        pyramid = self._service.open(image).pyramid
        outline: Outline | None = None
        if values.get("points") is not None:
            canvas = image.canvas(0)
            points = read_points(values["points"], canvas)
            points = points.clip((0, 0), (pyramid.width, pyramid.height))
            outline = tuple((float(x), float(y)) for x, y in points.tolist())
            if (points.max(axis=0) - points.min(axis=0)).min() < 8:
                raise EditError("The region is too small; drag over a larger part of the image.")
        scale = values.get("scale")
        if scale is not None:
            is_number = isinstance(scale, int | float) and not isinstance(scale, bool)
            low, high = _SCALES
            if not is_number or not low <= scale <= high:  # false for NaN, too
                raise EditError(f"The scale must be a number from {low:g} to {high:g}.")
        model = values.get("model")
        if model is not None and model not in self._service.queue.models:
            raise EditError("There is no such model; reload the page.")
        self._service.queue.start(image, outline, scale, model)
        return send_json({"job": self._service.queue.describe(image, 0)})

    def cancel(self, request: Request, values: Mapping[str, Any]) -> Response:
        """Stop finding cells."""
        self._service.queue.cancel(self._find(request))
        return send_json({})

    def remove(self, request: Request, values: Mapping[str, Any]) -> Response:
        """Remove an upload and its cells."""
        image = self._find(request)
        session = self._service.store.get(_read_token(request))
        if image.is_given or session is None or image.key not in session.images:
            raise EditError("Images that were given at start stay; end the server to close them.")
        self._service.queue.forget(image)
        session.remove(image.key)
        return send_json({})

    def _find(self, request: Request) -> PageImage:
        """Find the image that a request names, among those that its sender may see."""
        key = request.path_params["key"]
        image = self._service.store.find_image(_read_token(request), key)
        if image is None:
            raise RefusedError(404, "This image has expired or was removed; upload it again.")
        return image

    def _filter(self, wanted: CellFilter, image: PageImage) -> tuple[list[Any], OpenImage]:
        """List the cells of an image that pass a filter."""
        with self._service.queue.images.hold(image) as opened:
            return [cell for cell in opened.log.cells.values() if wanted.keeps(cell)], opened


def send_json(values: Mapping[str, Any], status: int = 200) -> Response:
    """Send JSON that is not kept."""
    return JSONResponse(values, status, _NO_STORE)


def _tell_state(log: EditLog) -> dict[str, Any]:
    """Describe a log to the page, without its cells."""
    return {
        "revision": log.revision,
        "undo": log.steps[log.done - 1].name if log.done else None,
        "redo": log.steps[log.done].name if log.done < len(log.steps) else None,
        "regions": log.regions,
    }


def _read_token(request: Request) -> str | None:
    """Return the token in a request's cookie; None where there is none."""
    token = request.cookies.get(COOKIE, "")
    return token if _TOKEN.fullmatch(token) else None


def _send_file(name: str, content: bytes) -> Response:
    """Send a download."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
    headers = {**_NO_STORE, "content-disposition": disposition}
    return Response(content, media_type="application/octet-stream", headers=headers)


def _find_media_type(path: Path) -> str:
    """Return what browsers are told that a file is."""
    own = {".js": "text/javascript", ".svg": "image/svg+xml", ".txt": "text/plain"}
    return own.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _remove_folder(folder: Path) -> None:
    """Remove what has come of an upload that failed."""
    for path in folder.iterdir() if folder.is_dir() else ():
        path.unlink(missing_ok=True)
    if folder.is_dir():
        folder.rmdir()
