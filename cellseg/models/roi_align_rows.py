"""RoIAlign of our own in the place of mmcv's, as a layer."""

from mmcv.ops import RoIAlign
from torch import Tensor

from cellseg.ops import roi_align


class RowRoIAlign(RoIAlign):
    """mmcv's RoIAlign, computed by `cellseg.ops.roi_align`. It has no parameters."""

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:  # noqa: A002  (MMDetection's name)
        """Sample the features of each RoI.

        Args:
            input: (B, C, h, w) float features.
            rois: (n, 5) image index, x1, y1, x2, y2 in pixels of the input image; n may be 0.

        Returns:
            (n, C, rows, columns) in the features' type.
        """
        if self.pool_mode != "avg":
            return super().forward(input.contiguous(), rois)
        size = self.output_size
        return roi_align(input, rois, size, self.spatial_scale, self.sampling_ratio, self.aligned)
