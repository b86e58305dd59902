"""Model parts that make dense images cheap; importing them registers them with mmdet."""

from cellseg.models.convnext import build_convnext
from cellseg.models.cropped_mask_head import CroppedMaskHead
from cellseg.models.efficientnet_lite import EfficientNetLite
from cellseg.models.fp32_heads import (
    Fp32RPNHead,
    Fp32Shared2FCBBoxHead,
    Fp32Shared4Conv1FCBBoxHead,
)
from cellseg.models.fp32_roi_extractor import Fp32SingleRoIExtractor
from cellseg.models.rle_roi_heads import RleCascadeRoIHead, RleRoIHead
from cellseg.models.roi_align_rows import RowRoIAlign
from cellseg.models.sparse_iou_assigner import SparseMaxIoUAssigner

__all__ = [
    "CroppedMaskHead",
    "EfficientNetLite",
    "Fp32RPNHead",
    "Fp32Shared2FCBBoxHead",
    "Fp32Shared4Conv1FCBBoxHead",
    "Fp32SingleRoIExtractor",
    "RleCascadeRoIHead",
    "RleRoIHead",
    "RowRoIAlign",
    "SparseMaxIoUAssigner",
    "build_convnext",
]
