"""Default values that the help texts name and the code uses.

They stand here, apart from the code, so that a help text costs no import of PyTorch.
"""

SPLITS = ("train", "val", "test")
"""Whose data of a config a tool may take."""

DEFAULT_SCORE_THR = 0.5
"""Predictions with a lower score count in AP only."""

DEFAULT_TINY_PX = 10
"""Cells of fewer pixels are reported as tiny."""

DEFAULT_KEYS = ("loss", "coco/segm_mAP_50")
"""What the training curves show."""

SEED_PATTERN = r"[-_.]?(seed|s|run)?[-_]?\d+$"
"""What tells runs of one setting apart in names such as r18_seed0, r18_seed1."""
