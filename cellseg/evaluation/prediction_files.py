"""Read predictions from files: COCO result JSON, or folders of label TIFFs from any tool.

Nothing is trusted, and no pickle is ever opened. Every error names the file and says what to do.
"""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from cellseg.datasets.tiff_io import CellDataError, read_label_map
from cellseg.errors import CellsegError
from cellseg.evaluation.cell_metric import parse_ground_truth
from cellseg.evaluation.coco_results import ImageResult, Predictions
from cellseg.evaluation.runs import run_areas
from cellseg.structures.rle import RLE, count_covered, decode_runs, encode_label_map

KNOWN_PATTERNS = (
    "{image}/class{class}.tif",
    "{image}_class{class}.tif",
    "{image}/image_cp_masks.tif",
    "{image}/image_seg.tif",
    "{image}/labels.tif",
    "{image}/masks.tif",
    "{image}_cp_masks.tif",
    "{image}_labels.tif",
    "{image}.tif",
)
"""How label files of predictions may be called, tried in this order; .tiff does as well."""

_PICKLES = {".pkl", ".pickle", ".pth", ".pt", ".npy"}
_FAR_PX = 1_000_000  # pycocotools walks along every edge, so far ones cost memory without end
_ROW_KEYS = ("image_id", "category_id", "score", "segmentation")


@dataclass(frozen=True)
class TruthImage:
    """What is known of one image that predictions are compared with; see `list_truth`."""

    img_id: int
    name: str
    height: int
    width: int
    instances: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class PredictionSet:
    """Predictions of a data set.

    Attributes:
        by_image: Image id to its predictions; an image without an entry has none.
        absent: Names of the images for which the files hold nothing.
        has_scores: Whether the tool gave confidences; without, each counts as 1.0.
        has_classes: Whether the tool gave classes; without, all labels are 0.
    """

    by_image: dict[int, Predictions]
    absent: list[str]
    has_scores: bool = True
    has_classes: bool = True


def list_truth(dataset: Any) -> list[TruthImage]:
    """List the images of a CellDataset, in its order."""
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return [
        TruthImage(i["img_id"], i["img_name"], i["height"], i["width"], i["instances"])
        for i in infos
    ]


def read_predictions(
    path: str | Path,
    images: Sequence[TruthImage],
    class_names: Sequence[str],
    pattern: str | None = None,
) -> PredictionSet:
    """Read predictions, whichever kind they are.

    Args:
        path: A COCO result JSON, or a folder of label TIFFs.
        images: The images of the data set.
        class_names: The classes in order.
        pattern: As for `read_label_folder`.

    Returns:
        The predictions.

    Raises:
        CellsegError: If the files cannot be used, or do not belong to this data set.
    """
    path = Path(path)
    if path.is_dir():
        return read_label_folder(path, images, class_names, pattern)
    if path.suffix.lower() in _PICKLES:
        raise CellsegError(
            f"{path}: opening a {path.suffix} file can run code, so it is not read. Give the COCO "
            f"result JSON that tools/test.py --out writes beside it, {path.stem}.segm.json."
        )
    if not path.exists():
        raise CellsegError(f"There are no predictions at {path}.")
    if path.suffix.lower() != ".json":
        raise CellsegError(
            f"{path}: predictions are a folder of label TIFFs or a COCO result .json."
        )
    return read_coco_results(path, images, class_names)


def join_results(images: Sequence[TruthImage], predictions: PredictionSet) -> list[ImageResult]:
    """Join ground truth and predictions of each image, in the order of the images."""
    nothing = Predictions(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64), [])
    return [
        ImageResult(
            image.img_id,
            image.height,
            image.width,
            predictions.by_image.get(image.img_id, nothing),
            parse_ground_truth([dict(instance) for instance in image.instances]),
        )
        for image in images
    ]


def read_coco_results(
    path: Path, images: Sequence[TruthImage], class_names: Sequence[str]
) -> PredictionSet:
    """Read a COCO result JSON: a list of {image_id, category_id from 1, score, segmentation}.

    Args:
        path: The file. Masks are compressed or plain RLE, or polygons.
        images: The images of the data set.
        class_names: The classes; category_id 1 is the first.

    Returns:
        The predictions. An empty list in the file means that nothing was found.

    Raises:
        CellsegError: If the file is empty, cut off or no such list, or a row does not fit.
    """
    rows = _load_rows(path)
    by_id = {image.img_id: image for image in images}
    grouped: dict[int, list[dict[str, Any]]] = {}
    for number, row in enumerate(rows):
        _check_row(path, number, row, by_id, len(class_names))
        grouped.setdefault(row["image_id"], []).append(row)
    by_image = {key: _parse_rows(path, by_id[key], group) for key, group in grouped.items()}
    absent = [image.name for image in images if image.img_id not in by_image]
    return PredictionSet(by_image, absent)


def read_label_folder(
    root: Path,
    images: Sequence[TruthImage],
    class_names: Sequence[str],
    pattern: str | None = None,
) -> PredictionSet:
    """Read a folder of label TIFFs, as Cellpose, StarDist and others write them.

    Args:
        root: The folder.
        images: The images of the data set.
        class_names: The classes in order.
        pattern: How the files are called below the folder: `{image}` stands for the image's name
            and `{class}` for a class's number from 1 or its name. When None, the first of
            KNOWN_PATTERNS that an image's file follows.

    Returns:
        The predictions, each of score 1.0.

    Raises:
        CellsegError: If no file follows the pattern, or one is of an unknown image or class, cannot
            be read, or differs in size from its image.
    """
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in (".tif", ".tiff"))
    if not paths:
        raise CellsegError(f"{root}: holds no label TIFF (.tif); convert the predictions to TIFF.")
    names = {path: path.relative_to(root).with_suffix(".tif").as_posix() for path in paths}
    by_name = {image.name: image for image in images}
    if pattern is None:
        pattern = _guess_pattern(root, names.values(), by_name)
        stray = next((p for p in paths if not _match(pattern, names[p])), None)
        if stray is not None and stray.name not in ("image.tif", "ignore.tif"):
            raise CellsegError(
                f"{stray}: does not follow the other files, which are called {pattern}; remove it, "
                "or say with --files how the label files are called."
            )
    layers: dict[int, list[tuple[Path, int]]] = {}
    for path, name in names.items():
        if found := _match(pattern, name):
            image, label = _place(path, found, by_name, class_names)
            layers.setdefault(image.img_id, []).append((path, label))
    if not layers:
        raise CellsegError(
            f"{root}: no file is called {pattern}, with an image's name as {{image}}."
        )
    by_id = {image.img_id: image for image in images}
    by_image = {key: _read_layers(by_id[key], files) for key, files in layers.items()}
    absent = [image.name for image in images if image.img_id not in by_image]
    return PredictionSet(by_image, absent, False, "{class}" in pattern)


def _load_rows(path: Path) -> list[Any]:
    """Load the list of a JSON file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CellsegError(
            f"{path}: is no UTF-8 text ({error}); write it again as JSON."
        ) from error
    except OSError as error:
        raise CellsegError(f"{path}: cannot be read ({error}); check the file.") from error
    if not text.strip():
        raise CellsegError(f"{path}: is empty; write the predictions again.")
    try:
        rows = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise CellsegError(
            f"{path}: is no complete JSON ({error}); it may have been cut off. Write it again."
        ) from error
    if not isinstance(rows, list):
        raise CellsegError(
            f"{path}: holds a JSON {type(rows).__name__}, not a list of COCO results "
            "{image_id, category_id, score, segmentation}."
        )
    return rows


def _check_row(
    path: Path, number: int, row: Any, by_id: Mapping[int, TruthImage], num_classes: int
) -> None:
    """Raise CellsegError for a row that is no prediction of this data set."""
    where = f"{path}: prediction {number}"
    if not isinstance(row, dict):
        raise CellsegError(f"{where} is not an object with {', '.join(_ROW_KEYS)}.")
    missing = [key for key in _ROW_KEYS if key not in row]
    if missing == ["segmentation"]:
        raise CellsegError(
            f"{where} has no mask (segmentation); give the .segm.json, not the .bbox.json."
        )
    if missing:
        raise CellsegError(f"{where} lacks {', '.join(missing)}.")
    image_id, category_id, score = (row[key] for key in _ROW_KEYS[:3])
    if type(image_id) is not int or image_id not in by_id:
        raise CellsegError(
            f"{where} is of image_id {image_id!r}, which is not among the {len(by_id)} images of "
            f"this data set (ids {min(by_id, default=0)} to {max(by_id, default=0)}). Judge it "
            "against the data and split that it was made for."
        )
    if type(category_id) is not int or not 1 <= category_id <= num_classes:
        raise CellsegError(
            f"{where} has category_id {category_id!r}; the classes are 1 to {num_classes}."
        )
    if type(score) not in (int, float) or not abs(score) <= sys.float_info.max:
        raise CellsegError(f"{where} has the score {score!r:.40}; it must be a finite number.")


def _parse_rows(path: Path, image: TruthImage, rows: Sequence[dict[str, Any]]) -> Predictions:
    """Parse the rows of one image."""
    rles = [_parse_mask(path, image, row["segmentation"]) for row in rows]
    runs = _decode_checked(path, image, rles)
    return Predictions(
        _tight_boxes(rles),
        np.array([row["score"] for row in rows], dtype=np.float64),
        np.array([row["category_id"] - 1 for row in rows], dtype=np.int64),
        rles,
        run_areas(runs, len(rles)),
    )


def _parse_mask(path: Path, image: TruthImage, mask: Any) -> RLE:
    """Bring a mask of any COCO kind to an RLE with text counts."""
    size = [image.height, image.width]
    where = f"{path}: a mask of image {image.name} (id {image.img_id})"
    if not _is_plain_mask(mask):
        raise CellsegError(
            f"{where} is neither RLE nor polygons; write it as {{size, counts}} or as lists of "
            "x, y, x, y, ... in pixels of the image."
        )
    if isinstance(mask, dict):
        if mask["size"] != size:
            raise CellsegError(
                f"{where} has size {mask['size']}, but the image has {size} (height, width); "
                "predictions must be in the coordinates of the original image."
            )
        if isinstance(mask["counts"], str):
            return RLE(size=size, counts=mask["counts"])
        if sum(mask["counts"]) != image.height * image.width:
            raise CellsegError(
                f"{where} is damaged: its counts sum up to {sum(mask['counts']):,}, not to the "
                f"{image.height * image.width:,} pixels of the image; write the file again."
            )
    elif any(abs(value) > _FAR_PX for polygon in mask for value in polygon):
        raise CellsegError(
            f"{where} has a polygon more than {_FAR_PX:,} px away; predictions must be in the "
            "coordinates of the original image."
        )
    parts = coco_mask.frPyObjects(mask, *size)
    rle = coco_mask.merge(parts) if isinstance(parts, list) else parts
    return RLE(size=size, counts=rle["counts"].decode("ascii"))


def _is_plain_mask(mask: Any) -> bool:
    """Tell whether a mask is an RLE or polygons by its form; pycocotools crashes on others."""
    if isinstance(mask, list):
        return bool(mask) and all(
            isinstance(polygon, list)
            and len(polygon) >= 6
            and len(polygon) % 2 == 0
            and all(type(value) in (int, float) and value == value for value in polygon)
            for polygon in mask
        )
    if not isinstance(mask, dict) or not isinstance(mask.get("size"), list):
        return False
    counts = mask.get("counts")
    if isinstance(counts, str):
        return bool(counts)
    return isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)


def _decode_checked(path: Path, image: TruthImage, rles: Sequence[RLE]) -> Any:
    """Decode masks; raise CellsegError for counts that are damaged."""
    for rle in rles:
        codes = rle["counts"].encode("utf-8")
        if min(codes) < 48 or max(codes) > 111 or (codes[-1] - 48) & 32:
            raise CellsegError(
                f"{path}: an RLE of image {image.name} is damaged or cut off; write it again."
            )
    runs = decode_runs(rles)
    follows = (runs.starts[1:] >= runs.ends[:-1]) | (runs.owners[1:] != runs.owners[:-1])
    inside = (runs.starts >= 0) & (runs.ends <= image.height * image.width)
    whole = count_covered(rles) == image.height * image.width
    if not (inside.all() and follows.all() and whole.all()):
        raise CellsegError(
            f"{path}: an RLE of image {image.name} is damaged, or not of {image.height} x "
            f"{image.width} pixels (height x width); write the file again."
        )
    return runs


def _tight_boxes(rles: Sequence[RLE]) -> NDArray[np.float64]:
    """Find the boxes (N, 4) x1, y1, x2, y2 of masks."""
    boxes = np.asarray(coco_mask.toBbox(list(rles)), dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def _match(pattern: str, name: str) -> dict[str, str] | None:
    """Match a file name, relative and with the suffix .tif, against a pattern."""
    parts = re.split(r"(\{image\}|\{class\})", re.sub(r"\.tiff?$", ".tif", pattern))
    groups = {"{image}": "(?P<image>.+)", "{class}": "(?P<class>[^/]+?)"}
    found = re.fullmatch("".join(groups.get(part, re.escape(part)) for part in parts), name)
    return found.groupdict() if found else None


def _guess_pattern(root: Path, names: Any, by_name: Mapping[str, TruthImage]) -> str:
    """Choose the first known pattern that a file of a known image follows."""
    names = list(names)
    for pattern in KNOWN_PATTERNS:
        for name in names:
            found = _match(pattern, name)
            if found and found["image"] in by_name:
                return pattern
    raise CellsegError(
        f"{root}: none of its {len(names)} TIFFs ({names[0]}, ...) is called after an image of the "
        f"data set ({next(iter(by_name), 'which has none')}, ...). Say with --files how they are "
        "called, as in '{image}/class{class}.tif'."
    )


def _place(
    path: Path,
    found: Mapping[str, str],
    by_name: Mapping[str, TruthImage],
    class_names: Sequence[str],
) -> tuple[TruthImage, int]:
    """Find the image and the class index of a file."""
    if found["image"] not in by_name:
        raise CellsegError(
            f"{path}: is of image {found['image']!r}, which is not in this data set of "
            f"{len(by_name)} images; remove it, or choose the split that it belongs to."
        )
    given = found.get("class", "1")
    numbers = {str(k): k - 1 for k in range(1, len(class_names) + 1)}
    labels = {**{name: k for k, name in enumerate(class_names)}, **numbers}
    if given not in labels:
        raise CellsegError(
            f"{path}: is of class {given!r}; the classes are 1 to {len(class_names)} "
            f"({', '.join(class_names)})."
        )
    return by_name[found["image"]], labels[given]


def _read_layers(image: TruthImage, files: Sequence[tuple[Path, int]]) -> Predictions:
    """Read the label maps of one image."""
    boxes, labels, rles, areas = [np.zeros((0, 4))], [], [], []
    for path, label in files:
        try:
            label_map = read_label_map(path)
        except CellDataError as error:
            raise CellsegError(str(error)) from error
        if label_map.shape != (image.height, image.width):
            raise CellsegError(
                f"{path}: is {label_map.shape[0]} x {label_map.shape[1]} pixels (height x width), "
                f"but image {image.name} is {image.height} x {image.width}."
            )
        ids, layer_boxes, layer_areas, layer_rles = encode_label_map(label_map)
        boxes.append(layer_boxes.astype(np.float64).reshape(-1, 4))
        labels += [label] * len(ids)
        rles += layer_rles
        areas += layer_areas.tolist()
    return Predictions(
        np.concatenate(boxes),
        np.ones(len(rles)),
        np.array(labels, dtype=np.int64),
        rles,
        np.array(areas, dtype=np.int64),
    )
