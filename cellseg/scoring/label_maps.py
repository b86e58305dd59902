"""Score label maps with label maps: the front door to every measure that needs no confidences.

>>> import numpy as np
>>> truth = np.zeros((8, 8), dtype=int)
>>> truth[0:3, 0:3], truth[5:8, 5:8] = 1, 2
>>> prediction = np.zeros((8, 8), dtype=int)
>>> prediction[0:3, 0:2] = 7  # finds the first cell, with an IoU of 6/9
>>> scores = score_label_maps(truth, prediction)
>>> values = scores.any_class.values
>>> {name: round(values[name], 3) for name in ("precision_50", "recall_50", "F1_50")}
{'precision_50': 1.0, 'recall_50': 0.5, 'F1_50': 0.667}
>>> {name: round(values[name], 3) for name in ("PQ", "DQ", "SQ", "AJI", "Dice")}
{'PQ': 0.444, 'DQ': 0.667, 'SQ': 0.667, 'AJI': 0.333, 'Dice': 0.5}
>>> [values[name] for name in ("AP_50", "AP_75")]
[0.5, 0.0]
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cellseg.scoring.counts import IOU_THRS, count_scene
from cellseg.scoring.scene import build_scene
from cellseg.scoring.scores import Scores, compute_scores
from cellseg.structures.cells import Cells

LabelMap: TypeAlias = NDArray[np.integer]
LabeledImage: TypeAlias = LabelMap | Mapping[str, LabelMap]

ONE_CLASS = "cell"
"""Name of the class of cells that come without one."""


def score_label_maps(
    truth: LabeledImage | Sequence[LabeledImage],
    prediction: LabeledImage | Sequence[LabeledImage],
    class_names: Sequence[str] | None = None,
    iou_thrs: Sequence[float] = IOU_THRS,
    tissues: Sequence[str] | None = None,
) -> Scores:
    """Score predicted cells against the ground truth.

    Args:
        truth: One image or a list of images. An image is a label map (H, W), integer, 0 where there
            is background and one positive value per cell; or, with several classes, a dict from
            class name to such a label map, where a class without cells may be left out.
        prediction: The same images, predicted.
        class_names: The classes in order; those of the truth, then of the predictions, when None.
        iou_thrs: IoU thresholds of AP, F1, precision and recall, ascending. Cells match when their
            IoU is greater; PQ is taken at the first threshold.
        tissues: The tissue (or another group) of each image, for `PQ_tissue_mean`.

    Returns:
        The scores per class (`classes`), their means over classes (`means`), and the scores of all
        cells whatever their class (`any_class`). Each is pooled over the images; those that end in
        `_image_mean` or `_tissue_mean` are averaged (see `scores.py`).

    Raises:
        ValueError: If the numbers or sizes of the images differ, or a class is not in class_names.
    """
    images = [_as_list(side) for side in (truth, prediction)]
    if len(images[0]) != len(images[1]):
        raise ValueError(
            f"{len(images[0])} images came with {len(images[1])} predictions; give one each."
        )
    layers = [[_as_layers(image) for image in side] for side in images]
    if class_names is None:
        class_names = list(dict.fromkeys(n for side in layers for image in side for n in image))
    counts = []
    for number, pair in enumerate(zip(*layers, strict=True)):
        try:
            gt, pred = (_read_cells(image, class_names) for image in pair)
            counts.append(count_scene(build_scene(gt, pred, len(class_names)), iou_thrs))
        except ValueError as error:
            raise ValueError(f"Image {number}: {error}") from error
    return compute_scores(counts, class_names, iou_thrs, tissues, with_ap=True)


def _as_list(images: LabeledImage | Sequence[LabeledImage]) -> list[LabeledImage]:
    """List the images; a single one becomes a list of one."""
    is_single = isinstance(images, Mapping) or (isinstance(images, np.ndarray) and images.ndim == 2)
    return [images] if is_single else list(images)  # type: ignore[list-item,arg-type]


def _as_layers(image: LabeledImage) -> Mapping[str, LabelMap]:
    """Return the label map of each class."""
    return image if isinstance(image, Mapping) else {ONE_CLASS: image}


def _read_cells(layers: Mapping[str, LabelMap], class_names: Sequence[str]) -> Cells:
    """Read the label maps of one image."""
    unknown = [name for name in layers if name not in class_names]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not among the classes {', '.join(class_names)}.")
    if not layers:
        raise ValueError("It has no label map, so its size is unknown; give one of zeros.")
    order = list(class_names)
    return Cells.concatenate(
        [Cells.from_label_map(layer, order.index(name), order) for name, layer in layers.items()]
    )
