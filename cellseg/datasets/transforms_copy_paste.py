"""Copy-paste augmentation on label maps.

Pasted cells lie on top: they take their pixels away from the cells below, and a cell that is
covered altogether is no longer annotated. See Ghiasi et al., Simple Copy-Paste
(https://arxiv.org/abs/2012.07177).
"""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from mmcv.transforms.utils import cache_randomness
from mmdet.datasets.transforms import CopyPaste
from mmdet.registry import TRANSFORMS
from numpy.typing import NDArray

from cellseg.structures.label_map_masks import LabelMapMasks


@TRANSFORMS.register_module()
class CellCopyPaste(CopyPaste):
    """Paste cells of another image, as mmdet's `CopyPaste` does, without making bitmaps.

    Both images need the same size: crop and `Pad` before it, as
    `configs/cell/cascade-mask-rcnn_x101-64x4d_coco_copy-paste.py` does. Given the same thresholds
    and random seed it gives the pixels, boxes and masks of `CopyPaste`, but that the image stays
    uint8 and a cell without a pixel left is always dropped.

    Args:
        max_num_pasted: At most one less than this many cells are pasted.
        bbox_occluded_thr: A cell below stays if no side of its box moved by more, in pixels.
        mask_occluded_thr: A cell below also stays if more than this many pixels are left. Unlike
            in `CopyPaste`, whose 300 px is more than most cells have, the default is 0: what can
            be seen stays annotated.
        selected: Whether to paste a random choice of cells, or all.
        labels: Indices of the classes whose cells may be pasted; cells are then taken only from
            images that hold one of them, if there are any. None for all classes.

    Raises:
        ValueError: If labels is empty.
    """

    def __init__(
        self,
        max_num_pasted: int = 100,
        bbox_occluded_thr: int = 10,
        mask_occluded_thr: int = 0,
        selected: bool = True,
        labels: Sequence[int] | None = None,
    ) -> None:
        """Keep the thresholds and classes."""
        super().__init__(max_num_pasted, bbox_occluded_thr, mask_occluded_thr, selected)
        if labels is not None and not len(labels):
            raise ValueError("CellCopyPaste needs labels of one class at least, or None for all.")
        self.labels = None if labels is None else frozenset(labels)
        self._sources: tuple[Any, Sequence[int]] | None = None  # of which data set, and its images

    @cache_randomness
    def get_indexes(self, dataset: Any) -> int:
        """Draw the image to paste from, for mmdet's MultiImageMixDataset.

        MMDetection draws one index more than there are images.

        Args:
            dataset: The wrapped data set.
        """
        if self._sources is None or self._sources[0] is not dataset:
            self._sources = (dataset, self._find_sources(dataset))
        return random.choice(self._sources[1])

    def _find_sources(self, dataset: Any) -> Sequence[int]:
        """List the images that hold a cell that may be pasted; all of them if none does."""
        everything = range(len(dataset))
        if self.labels is None:
            return everything
        return [
            index
            for index in everything
            if any(cell["bbox_label"] in self.labels for cell in _list_cells(dataset, index))
        ] or everything

    def transform(self, results: dict) -> dict:
        """Paste cells of `mix_results`, a list of one image's results, into the image.

        Raises:
            ValueError: If the images differ in size, or their masks are no label maps.
        """
        if self.labels is not None:
            sources = [_keep_labels(source, self.labels) for source in results["mix_results"]]
            results = results | {"mix_results": sources}
        pasted: dict = super().transform(results)
        return pasted

    def __repr__(self) -> str:
        """Return the call that builds this transform."""
        labels = None if self.labels is None else sorted(self.labels)
        return (
            f"{type(self).__name__}(max_num_pasted={self.max_num_pasted}, "
            f"bbox_occluded_thr={self.bbox_occluded_thr}, "
            f"mask_occluded_thr={self.mask_occluded_thr}, selected={self.selected}, "
            f"labels={labels})"
        )

    def get_gt_masks(self, results: dict) -> LabelMapMasks:
        """Return the masks, which must be label maps.

        Raises:
            ValueError: If they are not.
        """
        masks = results.get("gt_masks")
        if not isinstance(masks, LabelMapMasks):
            raise ValueError(
                f"The masks of {results.get('img_path')} are {type(masks).__name__}; CellCopyPaste "
                "needs those of LoadLabelMaps."
            )
        return masks

    def _copy_paste(self, dst_results: dict, src_results: dict) -> dict:
        """Paste the cells of `src_results` into `dst_results`, which is changed and returned.

        Raises:
            ValueError: If the images differ in size, or their masks are no label maps.
        """
        if not len(src_results["gt_bboxes"]):
            return dst_results
        below, pasted = self.get_gt_masks(dst_results), self.get_gt_masks(src_results)
        _require_one_size(dst_results, src_results)
        covered = pasted.foreground()
        below = below.erase(covered)
        boxes = below.get_bboxes(type(dst_results["gt_bboxes"]))
        stays = self._find_staying(dst_results, boxes.numpy(), below.areas)
        dst_results["img"] = np.where(covered[..., None], src_results["img"], dst_results["img"])
        dst_results["gt_bboxes"] = boxes.cat([boxes[stays], src_results["gt_bboxes"]])
        dst_results["gt_masks"] = LabelMapMasks.cat([below[stays], pasted])
        for key in ("gt_bboxes_labels", "gt_ignore_flags"):
            dst_results[key] = np.concatenate([dst_results[key][stays], src_results[key]])
        return dst_results

    def _find_staying(
        self, dst_results: dict, boxes: NDArray[np.float32], areas: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which cells below stay (N,), from their new boxes (N, 4) and areas (N,)."""
        moved = np.abs(boxes - dst_results["gt_bboxes"].numpy())
        recognizable = (moved <= self.bbox_occluded_thr).all(axis=1)
        return (areas > 0) & (recognizable | (areas > self.mask_occluded_thr))


def _list_cells(dataset: Any, index: int) -> list[dict[str, Any]]:
    """List the annotated cells of an image, without the regions to ignore."""
    return [cell for cell in dataset.get_data_info(index)["instances"] if not cell["ignore_flag"]]


def _keep_labels(source: dict, labels: Iterable[int]) -> dict:
    """Leave only the cells of some classes, in a copy that shares the pixels."""
    kept = np.isin(source["gt_bboxes_labels"], list(labels)) & ~source["gt_ignore_flags"]
    keys = ("gt_bboxes", "gt_bboxes_labels", "gt_ignore_flags", "gt_masks")
    return source | {key: source[key][kept] for key in keys}


def _require_one_size(dst_results: dict, src_results: dict) -> None:
    if dst_results["img"].shape != src_results["img"].shape:
        raise ValueError(
            f"{src_results.get('img_path')} of {src_results['img'].shape} cannot be pasted into "
            f"{dst_results.get('img_path')} of {dst_results['img'].shape}; crop and pad both to "
            "one size first."
        )
