"""Show how many cells of a dense image the RPN's proposals cover, for several limits on them.

python benchmarks/proposal_recall.py       # the demo's config and best checkpoint
python benchmarks/proposal_recall.py CONFIG CHECKPOINT --cells 1000 --limits 1000 2000 4000
python benchmarks/proposal_recall.py --quick    # one small image, written elsewhere

Images are drawn at the scale of the training images. Writes docs/proposal_recall.md.
"""

from dataclasses import dataclass
from pathlib import Path

import cellseg  # noqa: F401  (before mmdet.models, which needs mmcv's ops)

# isort: split

import numpy as np
import torch
from frame import DEMO_CONFIG, find_demo_checkpoint, find_page, make_parser, write_page, write_table
from mmdet.models.detectors.base import BaseDetector
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config
from mmengine.registry import init_default_scope

from cellseg.datasets.synthetic import draw_cell_image
from cellseg.engine.checkpoint_loading import load_checkpoint_file
from cellseg.structures.rle import encode_label_map

IOU_THRESHOLDS = (0.5, 0.7)


@dataclass(frozen=True)
class Coverage:
    """How well the proposals of some images cover their cells.

    Attributes:
        limit: nms_pre and max_per_img.
        proposals: Proposals per image, on average.
        recalls: Share of cells with a proposal of at least each of IOU_THRESHOLDS.
    """

    limit: int
    proposals: float
    recalls: tuple[float, ...]


def main() -> None:
    """Draw the images, propose with each limit, and write the page."""
    parser = make_parser(__doc__, "one small image")
    parser.add_argument("config", nargs="?", type=Path, default=DEMO_CONFIG)
    parser.add_argument("checkpoint", nargs="?", help="default: the best of work_dirs/demo")
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--size-px", type=int, default=1024)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--limits", type=int, nargs="+", default=[1000, 2000, 4000, 8000])
    args = parser.parse_args()
    if args.quick:
        args.cells, args.size_px, args.images, args.limits = 50, 256, 1, [50, 500]
    checkpoint = Path(args.checkpoint) if args.checkpoint else find_demo_checkpoint()
    model = build_model(Config.fromfile(args.config), checkpoint)
    rows = measure_coverage(model, args.cells, args.size_px, args.images, args.limits)
    setting = (
        f"{args.images} drawn images of {args.cells} cells on {args.size_px} x {args.size_px} "
        f"pixels, `{args.config.stem}`, `{checkpoint.name}`"
    )
    body = TEXT.format(table=tabulate(rows))
    page = find_page(args, "proposal_recall")
    print(write_page(page, "Proposals on dense images", "proposal_recall.py", body, setting))


def build_model(cfg: Config, checkpoint: Path) -> BaseDetector:
    """Build the config's detector with the checkpoint's weights, for inference."""
    init_default_scope("mmdet")
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    loaded = load_checkpoint_file(checkpoint, map_location="cpu")
    model.load_state_dict(loaded.get("state_dict", loaded))
    return model.eval()


def measure_coverage(
    model: BaseDetector, cells: int, size_px: int, images: int, limits: list[int]
) -> list[Coverage]:
    """Propose boxes on drawn images with each limit.

    Args:
        model: A two-stage detector.
        cells: Cells per image.
        size_px: Height and width of the images.
        images: How many images, each drawn from its own seed.
        limits: Values of nms_pre and max_per_img.

    Returns:
        The coverage with each limit.
    """
    best_ious: dict[int, list[torch.Tensor]] = {limit: [] for limit in limits}
    counts: dict[int, list[int]] = {limit: [] for limit in limits}
    for number in range(images):
        rng = np.random.default_rng([7, number])  # not a seed of the sample data
        image_bgr, label_maps = draw_cell_image(rng, size_px, size_px, cells)
        boxes = [encode_label_map(label_map)[1] for label_map in label_maps.values()]
        cell_boxes = torch.from_numpy(np.concatenate(boxes)).float()  # (N, 4)
        for limit in limits:
            proposals = propose(model, image_bgr, limit)
            best_ious[limit].append(bbox_overlaps(cell_boxes, proposals).amax(dim=1))
            counts[limit].append(len(proposals))
    ious = {limit: torch.cat(best) for limit, best in best_ious.items()}
    return [
        Coverage(
            limit,
            float(np.mean(counts[limit])),
            tuple(float((ious[limit] >= iou).float().mean()) for iou in IOU_THRESHOLDS),
        )
        for limit in limits
    ]


@torch.no_grad()
def propose(model: BaseDetector, image_bgr: np.ndarray, limit: int) -> torch.Tensor:
    """Return the RPN's proposals (P, 4), x1, y1, x2, y2 in pixels, best first."""
    sample = DetDataSample(
        metainfo={"img_shape": image_bgr.shape[:2], "ori_shape": image_bgr.shape[:2]}
    )
    image = torch.from_numpy(np.ascontiguousarray(image_bgr.transpose(2, 0, 1)))
    data = model.data_preprocessor({"inputs": [image], "data_samples": [sample]}, training=False)
    features = model.extract_feat(data["inputs"])
    model.rpn_head.test_cfg.update(nms_pre=limit, max_per_img=limit)
    (proposals,) = model.rpn_head.predict(features, data["data_samples"], rescale=False)
    return proposals.bboxes


def tabulate(rows: list[Coverage]) -> str:
    """Write the coverage with each limit as a Markdown table."""
    thresholds = [f"recall at IoU {iou:g}" for iou in IOU_THRESHOLDS]
    return write_table(
        ["nms_pre, max_per_img", "proposals", *thresholds],
        [
            [row.limit, f"{row.proposals:.0f}", *(f"{recall:.3f}" for recall in row.recalls)]
            for row in rows
        ],
    )


TEXT = """{table}

Recall is the share of cells that at least one proposal overlaps by that IoU. MMDetection keeps
1000 proposals per image (`nms_pre` and `max_per_img` of the RPN), this project's
`configs/_base_/mask-rcnn_cell.py` 4000. A cell without a proposal cannot be found.
"""


if __name__ == "__main__":
    main()
