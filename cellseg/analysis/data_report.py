"""Describe a data set, and find what looks wrong in it, before any training."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cellseg.defaults import DEFAULT_TINY_PX
from cellseg.structures.cells import Cells
from cellseg.structures.runs import Crop

IntArray = NDArray[np.int64]

_MIN_COLOR = 20  # least difference of a pixel's channels that makes it stained tissue
_MIN_TISSUE_PX = 50
_SWAPPED_CONTRAST = -4.0


@dataclass(frozen=True)
class ImageFacts:
    """One image.

    Attributes:
        name: Its name in the data set.
        height: In pixels.
        width: In pixels.
        cell_px: Pixels of all its cells.
        num_ignored: Ignore regions.
        stain_contrast: How much bluer (blue less red, in grey levels) the cells are than the
            stained tissue around them; nan where there is too little of either. Nuclei take the
            blue dye, so that it is positive unless red and blue were swapped.
    """

    name: str
    height: int
    width: int
    cell_px: int
    num_ignored: int
    stain_contrast: float

    @property
    def looks_swapped(self) -> bool:
        """Return whether red and blue seem to be swapped: brown cells, bluer surroundings."""
        return self.stain_contrast < _SWAPPED_CONTRAST


@dataclass(frozen=True)
class CellFacts:
    """All N cells of a data set; ignore regions are left out.

    Attributes:
        images: (N,) index of each cell's image.
        labels: (N,) class indices.
        boxes_xyxy: (N, 4) in pixels, x2 and y2 exclusive.
        areas: (N,) in pixels.
        pieces: (N,) connected pieces; pixels that touch at a corner are connected.
        holes: (N,) holes.
        at_border: (N,) whether it touches the border of its image.
        ids: (N,) values in the label file.
        files: N names of the label files.
    """

    images: IntArray
    labels: IntArray
    boxes_xyxy: IntArray
    areas: IntArray
    pieces: IntArray
    holes: IntArray
    at_border: NDArray[np.bool_]
    ids: IntArray
    files: list[str]

    @property
    def sizes_px(self) -> NDArray[np.float64]:
        """(N,) square roots of width x height of the boxes, in pixels."""
        return np.sqrt((self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]).prod(axis=1))

    @property
    def aspects(self) -> NDArray[np.float64]:
        """(N,) height over width of the boxes."""
        sides = self.boxes_xyxy[:, 2:] - self.boxes_xyxy[:, :2]
        return sides[:, 1] / np.maximum(sides[:, 0], 1)


@dataclass(frozen=True)
class DataFacts:
    """A data set described.

    Attributes:
        class_names: C names.
        images: One entry per image.
        cells: All cells.
        parts: Name of each fold or split to the indices of its images.
        tiny_px: Cells of a smaller area are tiny, in pixels.
        palette: RGB colors of the classes that the data set gives; None where it gives none.
    """

    class_names: tuple[str, ...]
    images: tuple[ImageFacts, ...]
    cells: CellFacts
    parts: dict[str, IntArray]
    tiny_px: int
    palette: Sequence[Sequence[int]] | None = None

    @property
    def counts(self) -> IntArray:
        """(images, C) cells of each class in each image."""
        table = np.zeros((len(self.images), len(self.class_names)), dtype=np.int64)
        np.add.at(table, (self.cells.images, self.cells.labels), 1)
        return table

    @property
    def suspicious(self) -> dict[str, NDArray[np.bool_]]:
        """What may be wrong to (N,) whether it is so with each cell."""
        return {
            "in several pieces": self.cells.pieces > 1,
            "with holes": self.cells.holes > 0,
            f"tiny (under {self.tiny_px} px)": self.cells.areas < self.tiny_px,
            "touching the border": self.cells.at_border,
        }


def describe_data(
    infos: Iterable[Mapping[str, Any]],
    class_names: Sequence[str],
    read_image: Any,
    parts: Mapping[str, Sequence[int]] | None = None,
    tiny_px: int = DEFAULT_TINY_PX,
    palette: Sequence[Sequence[int]] | None = None,
) -> DataFacts:
    """Measure every image and cell of a data set.

    Args:
        infos: Entries of a CellDataset.
        class_names: Its classes in order.
        read_image: Function from an entry to its image (H, W, 3) uint8 as B, G, R.
        parts: Name of each fold or split to the indices of its images; none when None.
        tiny_px: Cells of a smaller area count as tiny, in pixels.
        palette: RGB colors of the classes; None for the default ones.

    Returns:
        The facts; there may be no cell.
    """
    images: list[ImageFacts] = []
    rows: list[tuple[Any, ...]] = []
    files: list[str] = []
    for index, info in enumerate(infos):
        instances = [cell for cell in info["instances"] if not cell["ignore_flag"]]
        cells = Cells.from_instances(instances, info["height"], info["width"])
        images.append(_describe_image(info, cells, read_image(info)))
        for cell, crop in zip(instances, cells.crops(), strict=True):
            rows.append((index, *_describe_cell(cell, crop, cells.height, cells.width)))
            files.append(Path(info["label_paths"][cell["layer"]]).name)
    table = np.array(rows, dtype=np.int64).reshape(-1, 11)
    cell_facts = CellFacts(
        images=table[:, 0],
        labels=table[:, 1],
        boxes_xyxy=table[:, 2:6],
        areas=table[:, 6],
        pieces=table[:, 7],
        holes=table[:, 8],
        at_border=table[:, 9] > 0,
        ids=table[:, 10],
        files=files,
    )
    indices = {name: np.asarray(part, dtype=np.int64) for name, part in (parts or {}).items()}
    return DataFacts(tuple(class_names), tuple(images), cell_facts, indices, tiny_px, palette)


def measure_stain_contrast(image_bgr: NDArray[np.uint8], cells: NDArray[np.bool_]) -> float:
    """Measure how much bluer the cells are than the stained tissue around them.

    Args:
        image_bgr: (H, W, 3) uint8 as B, G, R.
        cells: (H, W) bool; where no pixel is set, the darker part of the tissue is taken.

    Returns:
        Mean of blue less red in the cells minus that around them, in grey levels; nan where either
        has too few stained pixels, as in grey images.
    """
    pixels = image_bgr.astype(np.int16)
    tissue = pixels.max(axis=2) - pixels.min(axis=2) > _MIN_COLOR
    if not tissue.any():
        return float("nan")
    if not cells.any():
        light = pixels.sum(axis=2)
        cells = light < light[tissue].mean()
    inside, outside = tissue & cells, tissue & ~cells
    if min(np.count_nonzero(inside), np.count_nonzero(outside)) < _MIN_TISSUE_PX:
        return float("nan")
    bluer = pixels[..., 0] - pixels[..., 2]
    return float(bluer[inside].mean() - bluer[outside].mean())


def count_pieces(crop: NDArray[np.bool_]) -> tuple[int, int]:
    """Count the connected pieces of a mask and the holes in them.

    Args:
        crop: (h, w) bool; may be empty.

    Returns:
        Pieces (pixels that touch at a corner are connected) and holes.
    """
    if not crop.any():
        return 0, 0
    _, hierarchy = cv2.findContours(crop.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    is_hole = hierarchy[0, :, 3] >= 0
    return int(np.count_nonzero(~is_hole)), int(np.count_nonzero(is_hole))


def format_report(facts: DataFacts) -> str:
    """Write the facts as text.

    Args:
        facts: The data set.

    Returns:
        Lines without a trailing newline.
    """
    blocks = [_format_images(facts), _format_classes(facts), _format_parts(facts)]
    return "\n\n".join([block for block in blocks if block] + [_format_suspicious(facts)])


def images_to_csv(facts: DataFacts) -> str:
    """Write one line per image: size, cells of each class, density, what looks wrong."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["image", "height", "width", *facts.class_names, "cells", "cells_per_megapixel"]
    writer.writerow([*head, "cell_area_share", "ignore_regions", "stain_contrast", "looks_swapped"])
    for image, counts in zip(facts.images, facts.counts.tolist(), strict=True):
        total, area = sum(counts), image.height * image.width
        contrast = "" if np.isnan(image.stain_contrast) else f"{image.stain_contrast:.1f}"
        row = [image.name, image.height, image.width, *counts, total, f"{1e6 * total / area:.1f}"]
        share = f"{image.cell_px / area:.4f}"
        writer.writerow([*row, share, image.num_ignored, contrast, int(image.looks_swapped)])
    return text.getvalue()


def suspicious_to_csv(facts: DataFacts) -> str:
    """Write one line per suspicious cell: where it is and why it is suspicious."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "file", "id", "class", "x1", "y1", "x2", "y2", "area_px", "why"])
    cells, suspicious = facts.cells, facts.suspicious
    for n in np.flatnonzero(np.any(list(suspicious.values()), axis=0)).tolist():
        why = "; ".join(reason for reason, found in suspicious.items() if found[n])
        where = [facts.images[cells.images[n]].name, cells.files[n], int(cells.ids[n])]
        name = facts.class_names[cells.labels[n]]
        writer.writerow([*where, name, *cells.boxes_xyxy[n].tolist(), int(cells.areas[n]), why])
    return text.getvalue()


def _describe_image(info: Mapping[str, Any], cells: Cells, image: NDArray[np.uint8]) -> ImageFacts:
    """Describe one image with its cells."""
    painted = cells.label_map() > 0
    return ImageFacts(
        info["img_name"],
        cells.height,
        cells.width,
        int(np.count_nonzero(painted)),
        len(info["instances"]) - len(cells),
        measure_stain_contrast(image, painted),
    )


def _describe_cell(cell: Mapping[str, Any], crop: Crop, height: int, width: int) -> tuple[Any, ...]:
    """List label, box, area, pieces, holes, border and id of a cell."""
    x1, y1, x2, y2 = cell["bbox"]
    at_border = x1 <= 0 or y1 <= 0 or x2 >= width or y2 >= height
    pieces = count_pieces(crop.mask)
    label = cell["bbox_label"]
    return (label, x1, y1, x2, y2, cell["area"], *pieces, at_border, cell["label_id"])


def _format_images(facts: DataFacts) -> str:
    """Write numbers and sizes of the images."""
    if not facts.images:
        return "no image"
    sides = np.array([(image.height, image.width) for image in facts.images])
    per_image = facts.counts.sum(axis=1)
    density = 1e6 * per_image / sides.prod(axis=1)
    lines = [
        f"{len(facts.images)} images, {len(facts.cells.labels)} cells, "
        f"{sum(image.num_ignored for image in facts.images)} ignore regions",
        f"images without a cell: {np.count_nonzero(per_image == 0)}",
    ]
    for name, values in (
        ("height (px)", sides[:, 0]),
        ("width (px)", sides[:, 1]),
        ("cells per image", per_image),
        ("cells per megapixel", density),
    ):
        low, middle, high = np.quantile(values, (0, 0.5, 1))
        lines.append(f"{name:<20} least {low:.0f}, median {middle:.0f}, most {high:.0f}")
    return "\n".join(lines)


def _format_classes(facts: DataFacts) -> str:
    """Write a table of the classes."""
    width = max(len("class"), *(len(name) for name in facts.class_names))
    head = f"{'class':{width}}  {'cells':>7}  {'images':>6}"
    columns = (
        ("size (px) 5, 50, 95%", facts.cells.sizes_px, 1),
        ("area (px) 5, 50, 95%", facts.cells.areas, 0),
        ("height / width 5, 50, 95%", facts.cells.aspects, 2),
    )
    lines = [head + "".join(f"  {title:>{len(title)}}" for title, _, _ in columns)]
    counts = facts.counts
    for label, name in enumerate(facts.class_names):
        own = facts.cells.labels == label
        line = f"{name:{width}}  {own.sum():>7}  {np.count_nonzero(counts[:, label]):>6}"
        for title, values, digits in columns if own.any() else ():
            three = np.quantile(values[own], (0.05, 0.5, 0.95))
            line += f"  {', '.join(f'{value:.{digits}f}' for value in three):>{len(title)}}"
        lines.append(line if own.any() else f"{line}  no cell of this class")
    return "\n".join(lines)


def _format_parts(facts: DataFacts) -> str:
    """Write how images and classes are spread over folds or splits."""
    if not facts.parts:
        return ""
    names = facts.class_names
    width = max(len("part"), *(len(name) for name in facts.parts))
    columns = [max(len(name), 16) for name in names]
    head = "  ".join(f"{name:>{column}}" for name, column in zip(names, columns, strict=True))
    lines = [f"{'part':{width}}  {'images':>6}  {head}"]
    counts = facts.counts
    for part, indices in facts.parts.items():
        own = counts[indices]
        shares = own.sum(axis=0) / np.maximum(counts.sum(axis=0), 1)
        cells = zip(own.sum(axis=0).tolist(), shares.tolist(), columns, strict=True)
        texts = [f"{f'{count} ({100 * share:.1f}%)':>{column}}" for count, share, column in cells]
        lines.append(f"{part:{width}}  {len(indices):>6}  " + "  ".join(texts))
    return "\n".join(lines)


def _format_suspicious(facts: DataFacts) -> str:
    """Write what looks wrong."""
    total = max(len(facts.cells.labels), 1)
    lines = [
        f"cells {name}: {np.count_nonzero(found)} ({100 * np.count_nonzero(found) / total:.1f}%)"
        for name, found in facts.suspicious.items()
    ]
    checked = [image for image in facts.images if not np.isnan(image.stain_contrast)]
    swapped = [image.name for image in checked if image.looks_swapped]
    lines.append(f"images with brown tissue: {len(swapped)} of {len(checked)} stained ones")
    if swapped:
        some = ", ".join(swapped[:5]) + (", ..." if len(swapped) > 5 else "")
        lines[-1] += f" ({some})"
    if 2 * len(swapped) > len(checked):
        lines.append(
            "Red and blue seem to be swapped: the cells are redder than the tissue around them. "
            "Set the data set's channel_order to the other of 'rgb' and 'bgr'."
        )
    return "\n".join(lines)
