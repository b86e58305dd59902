"""Which code computes the ops, and that each of them gives the same."""

import types

import pytest
import torch

from cellseg.ops import backend, nms, roi_align
from tests.ops.test_nms import draw_cells


@pytest.fixture
def torchvision_everywhere(monkeypatch):
    """Let torchvision compute on CPU tensors, too; skip where it does not load."""
    monkeypatch.setattr(backend, "has_cuda_kernels", lambda: True)  # a CPU build is enough here
    ops, reason = backend.load_torchvision()
    if ops is None:
        pytest.skip(reason)
    monkeypatch.setattr(backend, "uses_torchvision", lambda tensor: True)
    monkeypatch.setattr(backend, "_torchvision", ops)


def compute() -> tuple[torch.Tensor, ...]:
    """Run both ops on boxes with IoUs at the threshold, which float32 rounds up."""
    drawn, scores = draw_cells(300)
    drawn[:2] = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 3]])
    features = torch.randn(2, 3, 50, 50, generator=torch.Generator().manual_seed(0))
    features.requires_grad_()
    rois = torch.cat([torch.arange(300)[:, None] % 2, drawn], dim=1)
    found = [roi_align(features, rois, (7, 7), 0.25, samples) for samples in (0, 2)]
    grad = torch.autograd.grad(found[0].square().sum() + found[1].sum(), features)[0]
    return nms(drawn, scores, 0.3), nms(drawn, scores, 0.3, 1), *found, grad


def test_backend_when_torchvision_computes_then_results_are_the_same(request) -> None:
    own = compute()
    request.getfixturevalue("torchvision_everywhere")
    for ours, theirs in zip(own, compute(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)


def test_backend_when_torchvision_is_absent_then_says_so(monkeypatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")

    monkeypatch.setattr(backend.importlib, "import_module", fail)
    ops, reason = backend.load_torchvision()
    assert ops is None
    assert reason == "torchvision is not installed"


def test_backend_when_torchvision_is_of_another_torch_then_gives_the_reason(monkeypatch) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(backend.importlib, "import_module", fail)
    ops, reason = backend.load_torchvision()
    assert ops is None
    assert "torchvision::nms does not exist" in reason


def test_backend_when_torchvision_has_no_cuda_kernels_then_it_is_not_used(monkeypatch) -> None:
    built = types.SimpleNamespace(nms=lambda *args: None)
    monkeypatch.setattr(backend.importlib, "import_module", lambda name: built)
    monkeypatch.setattr(backend, "has_cuda_kernels", lambda: False)
    assert backend.load_torchvision() == (None, "torchvision was built without CUDA")


def test_describe_backend_when_there_is_no_gpu_then_names_the_cpu_alone(monkeypatch) -> None:
    monkeypatch.setattr(backend, "_torchvision", None)
    monkeypatch.setattr(backend, "_reason", "")
    assert backend.describe_backend() == "NMS and RoIAlign: cellseg's own on the CPU"


def test_describe_backend_when_torchvision_fails_then_says_why(monkeypatch) -> None:
    monkeypatch.setattr(backend, "_torchvision", None)
    monkeypatch.setattr(backend, "_reason", "torchvision is not installed")
    assert backend.describe_backend().endswith("and on the GPU, since torchvision is not installed")
