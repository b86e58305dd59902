"""The page in Gradio: what stands on it, and what happens when it is used."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from cellseg.errors import CellsegError
from cellseg.web import fragments
from cellseg.web.found_cells import TABLE_COLUMNS, FoundCells
from cellseg.web.inbox import Inbox
from cellseg.web.service import CellService, SupersededError
from cellseg.web.sessions import PageClosedError
from cellseg.web.uploads import SUFFIXES

STYLE = Path(__file__).parent / "templates" / "page.css"
TITLE = "Find cells"

_MOST_ROWS = 1000
_PROGRESS_PX = 120  # what Gradio's progress bar needs to stand by itself
_COLUMN_KINDS: Any = ["number", "str", "str", "number", "number", "number"]


@dataclass(frozen=True)
class Parts:
    """The components that events change."""

    upload: Any
    score_thr: Any
    with_scores: Any
    status: Any
    picture: Any
    counts: Any
    downloads: Any
    table: Any

    @property
    def results(self) -> list[Any]:
        """What shows a result, in the order of `_show`."""
        return [self.status, self.picture, self.counts, self.downloads, self.table]


def build_page(
    service: CellService, inbox: Inbox, model_name: str, score_thr: float = 0.5
) -> gr.Blocks:
    """Build the page.

    Args:
        service: Finds the cells.
        inbox: Where uploads arrive.
        model_name: What the page calls the model.
        score_thr: Where the slider stands at first.

    Returns:
        The page, not yet served.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False) as page:
        parts = _build_page(service, model_name, score_thr)
        _connect(page, parts, service, inbox)
    for part, keep in ((parts.upload, inbox), (parts.score_thr, ()), (parts.with_scores, ())):
        part.async_move_resource_to_block_cache = _keep_uploads(keep)
    return page.queue(max_size=32, api_open=False)


def _build_page(service: CellService, model_name: str, score_thr: float) -> Parts:
    """Place the components."""
    classes = ", ".join(service.finder.class_names)
    gr.Markdown(f"# {TITLE}\nModel `{model_name}` for {classes}. Images stay on this server.")
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            upload: Any = gr.File(
                label="Image",
                file_types=list(SUFFIXES),
                type="filepath",
                height=160,
                elem_id="upload",
            )
            slider = gr.Slider(
                service.finder.score_thr,
                1.0,
                max(score_thr, service.finder.score_thr),
                step=0.01,
                label="Lowest score",
                info="Cells with a lower score are left out.",
                elem_id="score-thr",
                buttons=[],
            )
            with_scores = gr.Checkbox(
                True, label="Write scores beside the cells", elem_id="with-scores"
            )
            counts = gr.HTML(elem_id="counts")
            downloads = gr.HTML(elem_id="downloads")
        with gr.Column(scale=3, min_width=320):
            status = gr.HTML(_invite(service), elem_id="status")
            picture = gr.HTML(elem_id="picture", min_height=_PROGRESS_PX)
            table = gr.Dataframe(
                headers=list(TABLE_COLUMNS.values()),
                datatype=_COLUMN_KINDS,
                label="Cells",
                interactive=False,
                visible=False,
                max_height=420,
                buttons=[],
                elem_id="cells",
            )
    return Parts(upload, slider, with_scores, status, picture, counts, downloads, table)


def _connect(page: gr.Blocks, parts: Parts, service: CellService, inbox: Inbox) -> None:
    """Say what happens when an image is dropped, a control moves, or the page closes."""

    def receive(path: str | None, request: gr.Request) -> list[Any]:
        service.store.open(_key(request)).forget()
        if path is None:
            return _clear(_invite(service))
        try:
            upload = service.receive(_key(request), Path(path))
        except CellsegError as error:
            return _clear(fragments.make_status(str(error), is_error=True))
        finally:
            inbox.remove(path)
        return _clear(fragments.make_status(f"Looking at {upload.name} ..."))

    def find(
        score_thr: float,
        with_scores: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio knows it by the default)
    ) -> list[Any]:
        def report(done: int, total: int) -> None:
            progress((done, total), desc="Finding cells", unit="tiles")

        try:
            if service.find(_key(request), report) is None:
                return [gr.skip()] * len(parts.results)
        except SupersededError:
            return [gr.skip()] * len(parts.results)
        except CellsegError as error:
            return _clear(fragments.make_status(str(error), is_error=True))
        return show(score_thr, with_scores, request)

    def show(score_thr: float, with_scores: bool, request: gr.Request) -> list[Any]:
        try:
            session = service.store.get(_key(request))
        except PageClosedError as error:
            return _clear(fragments.make_status(str(error), is_error=True))
        found = session.found if session is not None else None
        if session is None or found is None:
            return [gr.skip()] * len(parts.results)
        return _show(found.at(score_thr), session.token, score_thr, with_scores)

    def leave(request: gr.Request) -> None:
        service.store.close(_key(request))

    # Refused files are told of at once, even while other pages wait for the network.
    hidden: dict[str, Any] = {"api_visibility": "private"}
    received = gr.on(
        [parts.upload.upload, parts.upload.clear],
        receive,
        parts.upload,
        parts.results,
        queue=False,
        show_progress="hidden",
        trigger_mode="multiple",
        **hidden,
    )
    controls = [parts.score_thr, parts.with_scores]
    received.then(
        find,
        controls,
        parts.results,
        concurrency_limit=1,
        show_progress="full",
        show_progress_on=parts.picture,  # it is empty by then; over words it hides them
        trigger_mode="multiple",
        **hidden,
    )
    gr.on(
        [parts.score_thr.change, parts.with_scores.change],
        show,
        controls,
        parts.results,
        concurrency_limit=4,
        show_progress="hidden",
        trigger_mode="always_last",
        **hidden,
    )
    page.unload(leave)


def _key(request: gr.Request) -> str:
    """Name the open page that a request comes from."""
    return str(request.session_hash)


def _invite(service: CellService) -> str:
    """Say what can be dropped."""
    return fragments.make_status(
        f"Drop a TIFF, PNG, JPEG or BMP of up to {service.limits.describe()} to find its cells."
    )


def _clear(status: str) -> list[Any]:
    """Fill `Parts.results` without a result."""
    return [status, "", "", "", gr.Dataframe(value=[], visible=False)]


def _show(shown: FoundCells, token: str, score_thr: float, with_scores: bool) -> list[Any]:
    """Fill `Parts.results` with the cells that reach the threshold."""
    count = len(shown.cells)
    height, width = shown.image.pixels.shape[:2]
    words = f"{count:,} {'cell' if count == 1 else 'cells'} in {width:,} x {height:,} pixels."
    if count > _MOST_ROWS:
        words += f" The table shows the {_MOST_ROWS:,} highest-scoring; the CSV holds all."
    return [
        fragments.make_status(words),
        fragments.make_picture(shown, token, score_thr, with_scores),
        fragments.make_counts(shown.count_classes()),
        fragments.make_downloads(shown, token, score_thr),
        gr.Dataframe(value=shown.rows(_MOST_ROWS), visible=True),
    ]


def list_inputs(page: gr.Blocks) -> dict[int, list[str]]:
    """List the kinds of value that each function of the page takes, by its number.

    Args:
        page: From `build_page`.

    Returns:
        'file', 'score' or 'flag' for each input.
    """
    kinds: dict[Any, str] = {gr.File: "file", gr.Slider: "score", gr.Checkbox: "flag"}
    return {
        number: [kinds[type(part)] for part in function.inputs]
        for number, function in page.fns.items()
    }


def _keep_uploads(kept: Container[str]) -> Any:
    """Make a component's file handling, which takes uploads as they are, and no other path."""

    async def keep(path: str | Path | None) -> str | None:
        if path is None or str(path) not in kept:
            raise gr.Error("Upload a file; paths and URLs are not accepted.")
        return str(path)

    return keep
