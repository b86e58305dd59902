"""Convolutions that apply the activation after them in the same pass, for prediction on a CPU.

An activation by itself reads and writes all features once more, which takes as long as a light
network's convolutions do. torch has oneDNN's fused kernels, which need no compiler; where a torch
or a processor does not have them, networks stay as they are.
"""

from __future__ import annotations

import mmcv.cnn
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

_LAST = torch.channels_last
_CELLS_AT_A_TIME = 32  # all of an image need 100 MB and more, of another size in each image
_ACTIVATIONS: dict[str, list[float]] = {"none": [], "relu": [], "hardtanh": [0.0, 6.0]}


class _Weights:
    """The weights and bias of a layer, in each type that they are needed in."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        """Copy them as float32."""
        bias = None if bias is None else bias.detach().float().clone()
        self._copies = {torch.float32: (weight.detach().float().clone(), bias)}

    def take(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return them in a type."""
        if dtype not in self._copies:
            weight, bias = self._copies[torch.float32]
            self._copies[dtype] = weight.to(dtype), None if bias is None else bias.to(dtype)
        return self._copies[dtype]


class FusedConv2d(nn.Module):
    """A convolution and the activation after it.

    Under autocast it computes in autocast's type, as a convolution does. The weights are copied,
    and are no parameters.

    Args:
        convolution: The convolution.
        activation: "none", "relu", or "hardtanh" between 0 and 6, which is ReLU6.
        padding: Zeros before and after each row and column, where they are not the convolution's
            own; the second number may be larger.
    """

    def __init__(
        self,
        convolution: nn.Conv2d,
        activation: str = "none",
        padding: tuple[int, int] | None = None,
    ) -> None:
        """Copy the weights; see the class."""
        super().__init__()
        weight = convolution.weight.detach()
        pads = [int(side) for side in convolution.padding]
        if padding is not None:
            # oneDNN is given one padding for both sides; zeros in front of the kernel skip what is
            # too much at the first side.
            excess = padding[1] - padding[0]
            weight, pads = functional.pad(weight, (excess, 0, excess, 0)), [padding[1]] * 2
        strides = (list(convolution.stride), list(convolution.dilation), convolution.groups)
        self._geometry = (pads, *strides)
        self._after = (activation, _ACTIVATIONS[activation], "")
        self._weights = _Weights(weight.contiguous(memory_format=_LAST), convolution.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to channels-last ones of the convolution's size."""
        dtype = _find_dtype()
        values: Tensor = torch.ops.mkldnn._convolution_pointwise(
            features.to(dtype, memory_format=_LAST),
            *self._weights.take(dtype),
            *self._geometry,
            *self._after,
        )
        return values


class FusedUpsampling(nn.Module):
    """A transposed convolution whose kernels do not overlap, ReLU, and a 1 x 1 convolution.

    Each pixel is enlarged by itself, so that all of it is matrix products over the pixels, and only
    the last result is put in the order of the larger map.

    Args:
        upsample: The transposed convolution; `can_replace` says of which kind.
        last: The 1 x 1 convolution.
    """

    def __init__(self, upsample: nn.ConvTranspose2d, last: nn.Conv2d) -> None:
        """Copy the weights; see the class."""
        super().__init__()
        self._factor = upsample.kernel_size[0]
        weight = upsample.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (factor**2 * out, in)
        bias = None if upsample.bias is None else upsample.bias.repeat(self._factor**2)
        self._weights = _Weights(weight, bias)
        self._last = _Weights(last.weight.flatten(1), last.bias)

    @staticmethod
    def can_replace(upsample: nn.Module, last: nn.Module) -> bool:
        """Return whether two layers are such ones."""
        return (
            isinstance(upsample, nn.ConvTranspose2d)
            and upsample.kernel_size == upsample.stride == upsample.stride[:1] * 2
            and upsample.groups == 1
            and tuple(upsample.padding) == tuple(upsample.output_padding) == (0, 0)
            and is_plain_convolution(last)
            and last.kernel_size == (1, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map features (n, C, h, w) to (n, K, factor * h, factor * w)."""
        parts = [self._enlarge(part) for part in features.split(_CELLS_AT_A_TIME)]
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _enlarge(self, features: Tensor) -> Tensor:
        """Map the features of a few cells."""
        dtype = _find_dtype()
        number, channels, height, width = features.shape
        pixels = features.to(dtype).permute(0, 2, 3, 1).reshape(-1, channels)
        enlarged = torch.ops.mkldnn._linear_pointwise(
            pixels, *self._weights.take(dtype), "relu", [], ""
        )
        weight, bias = self._last.take(dtype)
        values = functional.linear(enlarged.view(-1, weight.shape[1]), weight, bias)
        values = values.view(number, height, width, self._factor, self._factor, len(weight))
        sides = (height * self._factor, width * self._factor)
        return values.permute(0, 5, 1, 3, 2, 4).reshape(number, len(weight), *sides)


def is_plain_convolution(layer: nn.Module) -> bool:
    """Return whether a layer is a convolution, and no kind of it that computes its weights."""
    return type(layer) in (nn.Conv2d, mmcv.cnn.Conv2d)


def _find_dtype() -> torch.dtype:
    """Return the type to compute in: autocast's, or float32."""
    is_lower = torch.is_autocast_enabled("cpu")
    return torch.get_autocast_dtype("cpu") if is_lower else torch.float32


def can_fuse(dtype: torch.dtype = torch.float32) -> bool:
    """Return whether this torch and processor have the fused kernels, as a small example shows."""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False  # oneDNN is made for these; elsewhere its kernels may be slow ones
    with torch.random.fork_rng(devices=[]):  # others' random numbers stay
        features = torch.randn(1, 16, 6, 6)
        convolution = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        upsample, last = nn.ConvTranspose2d(16, 16, 2, stride=2), nn.Conv2d(16, 2, 1)
    is_lower = dtype != torch.float32
    try:
        with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=is_lower):
            expected = (convolution(features).clamp(0, 6), last(upsample(features).relu()))
            values = (
                FusedConv2d(convolution, "hardtanh")(features),
                FusedUpsampling(upsample, last)(features),
            )
    except (AttributeError, RuntimeError, TypeError):  # another torch's operators
        return False
    tolerance = 0.05 if is_lower else 1e-4
    pairs = zip(values, expected, strict=True)
    return all(bool((one.float() - other.float()).abs().max() < tolerance) for one, other in pairs)


def fuse_activations(model: nn.Module) -> None:
    """Let convolutions of a model apply the activations after them, wherever this pays.

    Parts of a model that know how have a method `fuse`. What they compute stays as it is, up to
    rounding. Parts with batch norms, which are folded before, are left alone.

    Args:
        model: A detector in evaluation mode, on a CPU; it is changed, and can no longer be trained.
    """
    for part in list(model.modules()):
        fuse = getattr(part, "fuse", None)
        has_norms = any(isinstance(layer, _BatchNorm) for layer in part.modules())
        if callable(fuse) and not has_norms:
            fuse()
