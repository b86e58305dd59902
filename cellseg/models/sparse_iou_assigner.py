"""MaxIoUAssigner without the matrix of all overlaps."""

from typing import Any

import torch
from mmdet.models.task_modules.assigners import AssignResult, MaxIoUAssigner
from mmdet.registry import TASK_UTILS
from mmdet.structures.bbox import get_box_tensor
from mmengine.structures import InstanceData
from torch import Tensor

from cellseg.models.box_index import BoxIndex

_MIN_CACHED_PRIORS = 1 << 16
_EPS = 1e-6  # as in mmdet's bbox_overlaps


@TASK_UTILS.register_module()
class SparseMaxIoUAssigner(MaxIoUAssigner):
    """Assign cells to priors exactly as MaxIoUAssigner does, at the price of the overlaps.

    The result equals MaxIoUAssigner's bit for bit, except that ignore regions count in an image
    without cells, too; mmdet takes them for background there. Overlaps are computed, by the same
    arithmetic, only for pairs that can overlap, in bounded blocks; all other overlaps are known to
    be 0 (or -1 for a prior inside an ignore region). Where several cells overlap a prior equally,
    the first one counts, as torch.max documents; where several cells claim a prior as their best
    one, the last, as in MMDetection's loop. Anchors that stay the same from image to image are
    sorted once.

    It takes MaxIoUAssigner's arguments. `gpu_assign_thr` is accepted and not needed.

    Raises:
        ValueError: For `perm_repeat_gt_cfg` or an overlap other than the plain IoU.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take MaxIoUAssigner's arguments and refuse what the sparse form cannot honour."""
        super().__init__(*args, **kwargs)
        if self.perm_repeat_gt_cfg is not None:
            raise ValueError(
                "SparseMaxIoUAssigner does not permute repeated boxes; remove perm_repeat_gt_cfg "
                "or use MaxIoUAssigner."
            )
        calculator = repr(self.iou_calculator)
        if calculator != "BboxOverlaps2D(scale=1.0, dtype=None)":
            raise ValueError(
                f"SparseMaxIoUAssigner computes the plain IoU, not {calculator}; remove "
                "iou_calculator or use MaxIoUAssigner."
            )
        self._cached_priors: Tensor | None = None
        self._cached_index: BoxIndex | None = None

    def assign(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        gt_instances_ignore: InstanceData | None = None,
        **kwargs: Any,
    ) -> AssignResult:
        """Assign a cell, background or nothing to every prior.

        Args:
            pred_instances: Holds `priors` (N, 4) as x1, y1, x2, y2 in pixels; N may be 0.
            gt_instances: Holds `bboxes` (M, 4) and `labels` (M,) of the cells; M may be 0.
            gt_instances_ignore: Holds `bboxes` (K, 4) of the ignore regions.
            **kwargs: Accepted for the base class's sake.

        Returns:
            `gt_inds` (N,) int64: -1 for nothing, 0 for background, i + 1 for cell i;
            `max_overlaps` (N,); `labels` (N,) int64, -1 where no cell is assigned.
        """
        priors = get_box_tensor(pred_instances.priors)[:, :4]
        gt_boxes = get_box_tensor(gt_instances.bboxes)[:, :4]
        ignore_boxes = self._usable_ignore_boxes(gt_instances_ignore)
        if not len(priors) or not len(gt_boxes):
            nothing = self.assign_wrt_overlaps(
                gt_boxes.new_empty(len(gt_boxes), len(priors)), gt_instances.labels
            )
            return self._keep_ignored(nothing, priors, ignore_boxes)
        index = self._index_priors(priors)
        queries = [gt_boxes] if ignore_boxes is None else [gt_boxes, ignore_boxes]
        if index is None or not all(boxes.isfinite().all() for boxes in queries):
            return super().assign(pred_instances, gt_instances, gt_instances_ignore)
        ignored = None
        if ignore_boxes is not None:
            ignored = self._find_ignored(index, priors, ignore_boxes)
        return self._assign_pairs(index, priors, gt_boxes, gt_instances.labels, ignored)

    def _usable_ignore_boxes(self, instances: InstanceData | None) -> Tensor | None:
        """Return the ignore regions' boxes (K, 4), or None where they change nothing."""
        if instances is None or not self.ignore_iof_thr > 0 or not len(instances.bboxes):
            return None
        return get_box_tensor(instances.bboxes)[:, :4]

    def _keep_ignored(
        self, result: AssignResult, priors: Tensor, ignore_boxes: Tensor | None
    ) -> AssignResult:
        """Assign nothing to priors in ignore regions of an image without cells."""
        index = None if ignore_boxes is None or not len(priors) else self._index_priors(priors)
        if index is not None and ignore_boxes is not None and ignore_boxes.isfinite().all():
            result.gt_inds[self._find_ignored(index, priors, ignore_boxes)] = -1
        return result

    def _index_priors(self, priors: Tensor) -> BoxIndex | None:
        """Index the priors, or recall the index of equal ones; None if any is not finite."""
        cached = self._cached_priors
        if cached is not None and _are_equal(cached, priors):
            return self._cached_index
        if not priors.isfinite().all():
            return None
        index = BoxIndex(priors)
        if len(priors) >= _MIN_CACHED_PRIORS:
            self._cached_priors, self._cached_index = priors.detach().clone(), index
        return index

    def _find_ignored(self, index: BoxIndex, priors: Tensor, ignore_boxes: Tensor) -> Tensor:
        """Mark (N,) the priors that lie in an ignore region, or hold one."""
        ignored = torch.zeros(len(priors), dtype=torch.bool, device=priors.device)
        for region_inds, prior_inds in index.find_pairs(ignore_boxes):
            regions = ignore_boxes.index_select(0, region_inds)
            candidates = priors.index_select(0, prior_inds)
            intersections, region_areas, prior_areas = _intersect(regions, candidates)
            areas = prior_areas if self.ignore_wrt_candidates else region_areas
            iofs = intersections / areas.clamp(min=areas.new_tensor(_EPS))
            ignored[prior_inds[iofs > self.ignore_iof_thr]] = True
        return ignored

    def _assign_pairs(
        self,
        index: BoxIndex,
        priors: Tensor,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        ignored: Tensor | None,
    ) -> AssignResult:
        """Assign from the overlapping pairs alone; N and M are at least 1."""
        best = _BestOverlaps(priors, gt_boxes)
        claims = torch.zeros(len(priors), dtype=torch.long, device=priors.device)
        for gt_inds, prior_inds in index.find_pairs(gt_boxes):
            pairs = _overlapping_pairs(gt_boxes, priors, gt_inds, prior_inds, ignored)
            best.update(*pairs)
            if self.match_low_quality:
                self._claim_best_priors(claims, best.of_gts, *pairs)
        if ignored is not None:
            best.of_priors[ignored] = -1
        if self.match_low_quality:
            self._claim_for_unmatched_gts(claims, best.of_gts, ignored)
        gt_inds = self._threshold(best.of_priors, best.gt_inds)
        gt_inds = torch.where(claims > 0, claims, gt_inds)
        labels = gt_labels.long().index_select(0, (gt_inds - 1).clamp(min=0))
        labels.masked_fill_(gt_inds <= 0, -1)
        return AssignResult(len(gt_boxes), gt_inds, best.of_priors, labels)

    def _threshold(self, max_overlaps: Tensor, best_gt_inds: Tensor) -> Tensor:
        """Apply the thresholds for background and cells; the type checks are the base class's."""
        gt_inds = torch.full_like(best_gt_inds, -1)
        low, high = 0.0, None
        if isinstance(self.neg_iou_thr, float):
            high = self.neg_iou_thr
        elif isinstance(self.neg_iou_thr, tuple):
            low, high = self.neg_iou_thr
        if high is not None:
            gt_inds.masked_fill_((max_overlaps >= low) & (max_overlaps < high), 0)
        return torch.where(max_overlaps >= self.pos_iou_thr, best_gt_inds + 1, gt_inds)

    def _claim_best_priors(
        self, claims: Tensor, gt_best: Tensor, gt_inds: Tensor, prior_inds: Tensor, ious: Tensor
    ) -> None:
        """Let cells claim the priors that overlap them most; a later cell overrules."""
        own_best = gt_best.index_select(0, gt_inds)
        claiming = ((ious == own_best) & (own_best >= self.min_pos_iou)).nonzero().squeeze(1)
        gt_inds, prior_inds = gt_inds[claiming], prior_inds[claiming]
        if not self.gt_max_assign_all:
            firsts = torch.full_like(gt_best, len(claims), dtype=torch.long)
            firsts.scatter_reduce_(0, gt_inds, prior_inds, "amin")
            gt_inds = (firsts < len(claims)).nonzero().squeeze(1)
            prior_inds = firsts[gt_inds]
        claims.scatter_reduce_(0, prior_inds, gt_inds + 1, "amax")

    def _claim_for_unmatched_gts(
        self, claims: Tensor, gt_best: Tensor, ignored: Tensor | None
    ) -> None:
        """Let a cell that overlaps nothing claim all priors, if so low an overlap may match.

        With a `min_pos_iou` of 0 the best overlap of such a cell is 0, which every prior has.
        """
        everywhere = torch.ones_like(claims, dtype=torch.bool) if ignored is None else ~ignored
        lowest = 0.0
        if ignored is not None and not everywhere.any():
            everywhere, lowest = torch.ones_like(everywhere), -1.0
        unmatched = (gt_best == 0) & (torch.full_like(gt_best, lowest) >= self.min_pos_iou)
        numbers = torch.arange(1, len(gt_best) + 1, device=claims.device)
        last = torch.where(unmatched, numbers, 0).max()
        if not self.gt_max_assign_all:
            places = torch.arange(len(claims), device=claims.device)
            everywhere = places == everywhere.byte().argmax()
        claims.copy_(torch.where(everywhere, claims.clamp(min=last), claims))


class _BestOverlaps:
    """The largest overlaps met so far, of N priors and of M cells, when cells come in order.

    `of_priors` (N,) and `of_gts` (M,) are overlaps, `gt_inds` (N,) the first cell with a prior's
    largest overlap, 0 where nothing overlaps.
    """

    def __init__(self, priors: Tensor, gt_boxes: Tensor) -> None:
        dtype = torch.promote_types(priors.dtype, gt_boxes.dtype)
        self.of_priors = priors.new_zeros(len(priors), dtype=dtype)
        self.of_gts = priors.new_zeros(len(gt_boxes), dtype=dtype)
        self.gt_inds = priors.new_zeros(len(priors), dtype=torch.long)

    def update(self, gt_inds: Tensor, prior_inds: Tensor, ious: Tensor) -> None:
        """Take in pairs (P,) of cells that are later than all before."""
        self.of_gts.scatter_reduce_(0, gt_inds, ious, "amax")
        before = self.of_priors.index_select(0, prior_inds)
        self.of_priors.scatter_reduce_(0, prior_inds, ious, "amax")
        after = self.of_priors.index_select(0, prior_inds)
        won = ((ious == after) & (ious > before)).nonzero().squeeze(1)
        self.gt_inds.scatter_reduce_(0, prior_inds[won], gt_inds[won], "amin", include_self=False)


def _overlapping_pairs(
    gt_boxes: Tensor, priors: Tensor, gt_inds: Tensor, prior_inds: Tensor, ignored: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Keep the pairs (P,) with an overlap, and compute it; pairs of ignored priors have none."""
    intersections, gt_areas, prior_areas = _intersect(
        gt_boxes.index_select(0, gt_inds), priors.index_select(0, prior_inds)
    )
    unions = gt_areas + prior_areas - intersections
    ious = intersections / unions.clamp(min=unions.new_tensor(_EPS))
    overlapping = ious > 0
    if ignored is not None:
        overlapping &= ~ignored.index_select(0, prior_inds)
    kept = overlapping.nonzero().squeeze(1)
    return tuple(values.index_select(0, kept) for values in (gt_inds, prior_inds, ious))


def _intersect(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute intersections and both areas (P,) of paired boxes by bbox_overlaps' arithmetic."""
    xs1, ys1, xe1, ye1 = boxes1.unbind(dim=1)
    xs2, ys2, xe2, ye2 = boxes2.unbind(dim=1)
    widths = (torch.min(xe1, xe2) - torch.max(xs1, xs2)).clamp(min=0)
    heights = (torch.min(ye1, ye2) - torch.max(ys1, ys2)).clamp(min=0)
    return widths * heights, (xe1 - xs1) * (ye1 - ys1), (xe2 - xs2) * (ye2 - ys2)


def _are_equal(boxes: Tensor, others: Tensor) -> bool:
    """Return whether two tensors agree in kind and in every value."""
    same_kind = boxes.dtype == others.dtype and boxes.device == others.device
    return same_kind and boxes.shape == others.shape and torch.equal(boxes, others)
