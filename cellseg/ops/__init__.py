"""The two operators that a detector needs from mmcv, without a compiler: NMS and RoIAlign."""

from cellseg.ops.backend import describe_backend
from cellseg.ops.nms import nms
from cellseg.ops.roi_align import roi_align

__all__ = ["describe_backend", "nms", "roi_align"]
