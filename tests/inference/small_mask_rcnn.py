"""A real detector that is quick to build."""

from mmengine.config import Config


def small_mask_rcnn() -> Config:
    """Read a small Mask R-CNN with few proposals and cells."""
    cfg = Config.fromfile("configs/cell/mask-rcnn_r18_small-anchor_demo.py")
    cfg.model.test_cfg.rpn.update(nms_pre=50, max_per_img=50)
    cfg.model.test_cfg.rcnn.max_per_img = 10
    return cfg
