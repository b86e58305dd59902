"""The works that are compared: each is prepared for one side, then run under the clock.

A preparation reads the scene and builds the parts, which is not measured, and returns the work as a
function without arguments. Sides are 'stock', 'ours' and variants of ours such as 'ours-amp'.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .scenes import Scene
from .works_data import (
    prepare_annotations,
    prepare_pipeline,
    same_annotations,
    same_packed_inputs,
)
from .works_metric import prepare_average_precision, same_scores
from .works_model import prepare_r18_step, prepare_r101_step, similar_losses
from .works_targets import (
    prepare_detections_to_rle,
    prepare_mask_targets,
    prepare_rpn_targets,
    same_detections,
    same_mask_targets,
    same_rpn_targets,
)

Run = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """One work of the comparison.

    Attributes:
        title: What is measured, for tables.
        prepare: Builds the work for a scene and a side.
        agree: Tells whether stock's result and ours are equal.
        unit: What the time is divided by, 'image' or '' for the whole.
        is_steady: Whether the second run in a process is timed, for work that goes on and on in
            one: then neither fresh memory nor what is sorted once weighs on it.
    """

    title: str
    prepare: Callable[[Scene, str], Run]
    agree: Callable[[Any, Any], bool]
    unit: str = ""
    is_steady: bool = False


WORKS = {
    "annotations": Work(
        "label TIFF -> annotations", prepare_annotations, same_annotations, unit="image"
    ),
    "pipeline": Work(
        "pipeline to PackDetInputs", prepare_pipeline, same_packed_inputs, is_steady=True
    ),
    "rpn-targets": Work("RPN targets", prepare_rpn_targets, same_rpn_targets, is_steady=True),
    "mask-targets": Work(
        "mask targets, 128 RoIs", prepare_mask_targets, same_mask_targets, is_steady=True
    ),
    "detections-to-rle": Work("detections to RLE", prepare_detections_to_rle, same_detections),
    "step-r18": Work("train step, R18, batch 2", prepare_r18_step, similar_losses, unit="image"),
    "step-r101": Work("train step, R101, batch 2", prepare_r101_step, similar_losses, unit="image"),
    "average-precision": Work("AP of masks", prepare_average_precision, same_scores),
}
