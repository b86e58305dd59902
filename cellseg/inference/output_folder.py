"""The folder that a job writes into: which files belong to it, and which images are finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cellseg.errors import CellsegError, as_cellseg_error
from cellseg.file_locks import FolderLock
from cellseg.fileio import write_atomically
from cellseg.formats.coco_results import join_coco_results
from cellseg.formats.outputs import FORMATS, output_files
from cellseg.inference.image_list import RECORD_SUFFIX, InputImage, list_written_names
from cellseg.inference.tiles import check_range

JOINED_RESULTS_NAME = "coco_results.json"
"""The cells of all images of a run, as COCO results."""
JOINED_IMAGES_NAME = "coco_images.json"
"""The images that the joined results are about: id, file_name, height, width."""
_LOCK_NAME = ".predicting"


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and how images are read.

    Attributes:
        folder: Where outputs go.
        formats: Keys of `outputs.FORMATS`.
        score_thr: Cells below this are not written.
        mpp: Pixel size to predict at, in micrometers; that of the file when None.
        pixel_size_um: Pixel size of the files, where they do not tell.
    """

    folder: Path
    formats: tuple[str, ...]
    score_thr: float = 0.5
    mpp: float | None = None
    pixel_size_um: float | None = None

    def __post_init__(self) -> None:
        """Check the folder and the numbers.

        Raises:
            CellsegError: If one makes no sense, so that it is said before an image is read.
        """
        check_range("The score threshold", self.score_thr, 0, 1)
        check_range("The pixel size to predict at", self.mpp, 0, open_end=True)
        check_range("The pixel size of the files", self.pixel_size_um, 0, open_end=True)
        existing = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        if not existing.is_dir():
            raise CellsegError(f"{existing} is a file; give another folder for the outputs.")


class OutputFolder:
    """Names, records and joins the outputs of a job.

    An image is finished once its record is written, which is the last of its files.

    Args:
        options: What is written.
        class_names: Names of the model's classes.
        settings: Whatever decides the cells found; outputs made with other settings are no longer
            right.
    """

    def __init__(
        self, options: OutputOptions, class_names: Sequence[str], settings: dict[str, Any]
    ) -> None:
        """Keep the parts; see the class."""
        self.options = options
        self._class_names = tuple(class_names)
        shown = {**asdict(options), "folder": "", "formats": ""}
        self._settings = {**settings, "options": shown}
        self._lock = FolderLock(options.folder / _LOCK_NAME)

    def take(self) -> None:
        """Keep other jobs out of the folder until `release`, or the end of this process.

        Raises:
            CellsegError: If another job writes into it.
        """
        with as_cellseg_error(OSError, f"{self.options.folder} cannot be used for outputs: "):
            is_free = self._lock.take()
        if not is_free:
            raise CellsegError(
                f"Another run is predicting into {self.options.folder}; wait for it, or give "
                "another --out."
            )

    def release(self) -> None:
        """Let other jobs into the folder."""
        self._lock.release()

    def stem_of(self, image: InputImage) -> Path:
        """Name what the files of an image start with."""
        return self.options.folder / image.name

    def finish(self, image: InputImage, facts: dict[str, Any]) -> None:
        """Write the record that marks an image as finished.

        Args:
            image: The image, its outputs written.
            facts: What is known of it: its height, width and number of cells at least.
        """
        before = list_written_names(self._record_of(image))  # of other formats, still there
        record = {
            "image": image.origin,
            **facts,
            "formats": list(self.options.formats),
            "files": sorted({path.name for path in self._files_of(image)} | before),
            "fingerprint": self.fingerprint_of(image),
        }
        write_atomically(self._record_of(image), json.dumps(record, indent=2) + "\n")

    def read_finished(self, image: InputImage) -> dict[str, Any] | None:
        """Read the record of an image whose outputs are all there and still right; else None."""
        try:
            record = json.loads(self._record_of(image).read_text("utf-8"))
            done = (
                {"cells", "height", "width", "files"} <= set(record)
                and set(self.options.formats) <= set(record["formats"])
                and record["fingerprint"] == self.fingerprint_of(image)
                and all(path.is_file() for path in self._files_of(image))
            )
            return record if done else None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def remove_half_written(self, images: Sequence[InputImage]) -> None:
        """Remove what a killed run was writing for images that are not finished.

        These are the files that `write_atomically` has aside. Only call this while no other process
        writes into the folder for these images.
        """
        folder = self.options.folder
        whole = {
            path
            for image in images
            for path in (
                self._record_of(image),
                *output_files(self.stem_of(image), list(FORMATS), self._class_names),
            )
        }
        for aside in folder.glob(".*.part"):
            if aside.with_name(aside.name[1:].rsplit(".", 2)[0]) in whole:
                aside.unlink(missing_ok=True)

    def refuse_replacing(self, images: Sequence[InputImage]) -> None:
        """Raise CellsegError if an output would replace one of the images."""
        inputs = {image.path.resolve() for image in images}
        folder = self.options.folder.resolve()
        for image in images:
            for path in self._files_of(image):
                if folder / path.name in inputs:
                    raise CellsegError(
                        f"{path} would be replaced by an output of {image.path}; predict into "
                        "another folder, or remove the file if a stopped run left it."
                    )

    def refuse_mixing(self, images: Sequence[InputImage]) -> None:
        """Refuse to mix outputs with those of other images that an earlier run left.

        Raises:
            CellsegError: If the folder holds outputs of another image of the same name, or joined
                results that other settings made.
        """
        for image in images:
            origin = str(_read_json(self._record_of(image)).get("image", ""))
            before = Path(origin)
            is_other = "://" in origin + image.origin and origin not in ("", image.origin)
            if before.is_file() and image.path.exists():
                is_other = is_other or not before.samefile(image.path)
            if is_other:
                raise CellsegError(
                    f"{self.options.folder} holds the cells of {origin}, which those of "
                    f"{image.origin} would replace; predict into another folder, or remove "
                    f"{self._record_of(image)}."
                )
        if "coco" not in self.options.formats:
            return
        for row in self._list_earlier({image.name for image in images}):
            earlier = InputImage(Path(row["file_name"]), row["name"])
            made = _read_json(self._record_of(earlier)).get("fingerprint")
            with suppress(OSError, ValueError):  # the image has gone, its cells stay
                if made != self.fingerprint_of(earlier):
                    raise CellsegError(
                        f"{self.options.folder / JOINED_RESULTS_NAME} holds cells of {earlier.path}"
                        " that other settings, or another checkpoint, found; predict into another "
                        "folder."
                    )

    def join_coco(self, images: Sequence[InputImage]) -> None:
        """Join the finished images' COCO results, and list these images with their ids.

        Images that an earlier run joined stay, as long as their own results are there.

        Args:
            images: All images of the run; nothing is written where none is finished.
        """
        suffix = FORMATS["coco"].suffix
        rows = [
            {
                "id": number,
                "name": image.name,
                "file_name": image.origin,
                "height": record["height"],
                "width": record["width"],
            }
            for number, image, record in self._number_finished(images)
        ]
        if not rows:
            return
        earlier = self._list_earlier({image.name for image in images})
        if earlier:
            names = {image.name for image in images} | {row["name"] for row in earlier}
            places = {name: place for place, name in enumerate(sorted(names), 1)}
            rows = [{**row, "id": places[row["name"]]} for row in (*rows, *earlier)]
            rows.sort(key=lambda row: row["id"])
        folder = self.options.folder
        parts = [(folder / f"{row['name']}{suffix}", row["id"]) for row in rows]
        join_coco_results(parts, folder / JOINED_RESULTS_NAME)
        write_atomically(folder / JOINED_IMAGES_NAME, json.dumps(rows, indent=1) + "\n")

    def _list_earlier(self, names: set[str]) -> list[dict[str, Any]]:
        """List the rows of the joined images that are not of this run, and still have results."""
        rows = _read_json(self.options.folder / JOINED_IMAGES_NAME, list)
        suffix = FORMATS["coco"].suffix
        return [
            row
            for row in rows
            if isinstance(row, dict)
            and all(isinstance(row.get(key), str) for key in ("name", "file_name"))
            and all(type(row.get(key)) is int for key in ("id", "height", "width"))
            and row["name"] not in names
            and (self.options.folder / f"{row['name']}{suffix}").is_file()
        ]

    def _number_finished(
        self, images: Sequence[InputImage]
    ) -> list[tuple[int, InputImage, dict[str, Any]]]:
        """List id, image and record of the finished images, by name.

        The id is the image's place among all images by name, from 1, as a data folder counts; so
        it stays the same when an image that failed is repaired.
        """
        ordered = sorted(images, key=lambda image: image.name)
        records = (
            (place, image, self.read_finished(image)) for place, image in enumerate(ordered, 1)
        )
        return [(place, image, record) for place, image, record in records if record is not None]

    def _files_of(self, image: InputImage) -> list[Path]:
        """List the files that the formats make for an image."""
        return output_files(self.stem_of(image), list(self.options.formats), self._class_names)

    def _record_of(self, image: InputImage) -> Path:
        """Name the record of a finished image."""
        return self.options.folder / f"{image.name}{RECORD_SUFFIX}"

    def fingerprint_of(self, image: InputImage) -> str:
        """Sum up everything that decides an image's outputs."""
        facts = {**self._settings, **image.describe_state()}
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _read_json(path: Path, kind: type = dict) -> Any:
    """Read a file of ours; an empty one of its kind where it is absent or damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return kind()
    return content if isinstance(content, kind) else kind()
