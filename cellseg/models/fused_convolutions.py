"""Convolutions that apply the activation after them in the same pass, for prediction on a CPU.

An activation by itself reads and writes all features once more, which takes as long as a light
network's convolutions do. torch has oneDNN's fused kernels, which need no compiler; where a torch
or a processor does not have them, networks stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

_LAST = torch.channels_last
_ACTIVATIONS: dict[str, list[float]] = {"none": [], "relu": [], "hardtanh": [0.0, 6.0]}


class FusedConv2d(nn.Module):
    """A convolution, or a transposed one, and the activation after it.

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
        convolution: nn.Conv2d | nn.ConvTranspose2d,
        activation: str = "none",
        padding: tuple[int, int] | None = None,
    ) -> None:
        """Copy the weights; see the class."""
        super().__init__()
        weight = convolution.weight.detach().float()
        pads = [int(side) for side in convolution.padding]
        if padding is not None:
            # oneDNN is given one padding for both sides; zeros in front of the kernel skip what is
            # too much at the first side.
            excess = padding[1] - padding[0]
            weight, pads = functional.pad(weight, (excess, 0, excess, 0)), [padding[1]] * 2
        strides = (list(convolution.stride), list(convolution.dilation), convolution.groups)
        self._is_transposed = isinstance(convolution, nn.ConvTranspose2d)
        self._geometry: tuple = (pads, *strides)
        if self._is_transposed:
            self._geometry = (pads, list(convolution.output_padding), *strides)
        self._after = (activation, _ACTIVATIONS[activation], "")
        bias = convolution.bias
        self._weights = {torch.float32: weight.to(memory_format=_LAST)}  # a copy in each type used
        self._biases = {torch.float32: None if bias is None else bias.detach().float()}

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to channels-last ones of the convolution's size."""
        ops = torch.ops.mkldnn
        is_lower = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if is_lower else torch.float32
        features = features.to(dtype, memory_format=_LAST)
        fused = (
            ops._convolution_transpose_pointwise
            if self._is_transposed
            else ops._convolution_pointwise
        )
        values: Tensor = fused(features, *self._take_weights(dtype), *self._geometry, *self._after)
        return values

    def _take_weights(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return weights and bias in a type."""
        if dtype not in self._weights:
            bias = self._biases[torch.float32]
            self._weights[dtype] = self._weights[torch.float32].to(dtype)
            self._biases[dtype] = None if bias is None else bias.to(dtype)
        return self._weights[dtype], self._biases[dtype]


def can_fuse(dtype: torch.dtype = torch.float32) -> bool:
    """Return whether this torch and processor have the fused kernels, as a small example shows."""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX"):
        return False  # oneDNN is made for these; elsewhere its kernels may be slow ones
    with torch.random.fork_rng(devices=[]):  # others' random numbers stay
        features = torch.randn(1, 16, 6, 6)
        convolution = nn.Conv2d(16, 16, 3, padding=1, groups=16)
    is_lower = dtype != torch.float32
    try:
        with torch.inference_mode(), torch.autocast("cpu", dtype=dtype, enabled=is_lower):
            expected = convolution(features).clamp(0, 6).float()
            values = FusedConv2d(convolution, "hardtanh")(features).float()
    except (AttributeError, RuntimeError, TypeError):  # another torch's operators
        return False
    tolerance = 0.05 if is_lower else 1e-4
    return bool((values - expected).abs().max() < tolerance)


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
