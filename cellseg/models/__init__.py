"""Model parts that make dense images cheap."""

from cellseg.models.sparse_iou_assigner import SparseMaxIoUAssigner

__all__ = ["SparseMaxIoUAssigner"]
