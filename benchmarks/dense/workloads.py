"""The workloads that are compared: each is prepared for one side, then measured.

A preparation reads the scene and builds the parts, which is not measured, and returns the workload
as a function without arguments. Sides are 'stock' (MMDetection's own parts), 'ours' and variants of
ours such as 'ours-amp'.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .scenes import DrawnScene
from .workloads_data import (
    prepare_annotations,
    prepare_pipeline,
    same_annotations,
    same_packed_inputs,
)
from .workloads_metric import prepare_average_precision, same_scores
from .workloads_model import prepare_r18_step, prepare_r101_step, similar_losses
from .workloads_targets import (
    prepare_detections_to_rle,
    prepare_mask_targets,
    prepare_rpn_targets,
    same_detections,
    same_mask_targets,
    same_rpn_targets,
)

Run = Callable[[], Any]


@dataclass(frozen=True)
class Workload:
    """One workload of the comparison.

    Attributes:
        prepare: Builds it for a scene and a side.
        agree: Returns whether MMDetection's result and ours are equal.
        is_per_image: Whether the time is divided by the number of images.
        is_steady: Whether the second run in a process is timed, for what is repeated many times in
            one: fresh memory and one-time sorting then do not count.
    """

    prepare: Callable[[DrawnScene, str], Run]
    agree: Callable[[Any, Any], bool]
    is_per_image: bool = False
    is_steady: bool = False


WORKLOADS = {
    "annotations": Workload(prepare_annotations, same_annotations, is_per_image=True),
    "pipeline": Workload(prepare_pipeline, same_packed_inputs, is_steady=True),
    "rpn-targets": Workload(prepare_rpn_targets, same_rpn_targets, is_steady=True),
    "mask-targets": Workload(prepare_mask_targets, same_mask_targets, is_steady=True),
    "detections-to-rle": Workload(prepare_detections_to_rle, same_detections),
    "step-r18": Workload(prepare_r18_step, similar_losses, is_per_image=True),
    "step-r101": Workload(prepare_r101_step, similar_losses, is_per_image=True),
    "average-precision": Workload(prepare_average_precision, same_scores),
}
