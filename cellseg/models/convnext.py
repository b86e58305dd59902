"""ConvNeXt as a backbone: mmpretrain's, which is imported when a model with it is built.

A config that has it can be read, and its data opened, without that package.
"""

import importlib
from typing import Any

from mmdet.registry import MODELS
from torch import nn

from cellseg.errors import CellsegError


@MODELS.register_module(name="ConvNeXt")
def build_convnext(**settings: Any) -> nn.Module:
    """Build the backbone of Liu et al., A ConvNet for the 2020s (https://arxiv.org/abs/2201.03545).

    Args:
        **settings: Those of mmpretrain's ConvNeXt, such as `arch` and `out_indices`.

    Returns:
        mmpretrain's module: images (B, 3, H, W) to features (B, C, h, w), a tuple with one for each
        of `out_indices`, at strides 4 to 32.

    Raises:
        CellsegError: If mmpretrain cannot be imported.
    """
    try:
        backbones = importlib.import_module("mmpretrain.models.backbones")
    except ImportError as error:
        raise CellsegError(
            f"The backbone ConvNeXt needs onedl-mmpretrain, which cannot be imported ({error}); "
            "install the extra, with a torchvision that fits torch: pip install "
            "'cellseg-mmdet[mmpretrain]'."
        ) from error
    backbone: nn.Module = backbones.ConvNeXt(**settings)
    return backbone
