"""Red and blue of stained tissue that are read the wrong way round are noticed."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellseg.datasets.synthetic import draw_cell_image
from cellseg.images.stain_check import (
    count_swapped,
    measure_blue_shift,
    warn_of_swapped_array,
    warn_of_swapped_channels,
)


def draw(seed: int) -> NDArray[np.uint8]:
    return draw_cell_image(np.random.default_rng(seed), 200, 200, num_cells=30)[0]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four drawn images that store blue first."""
    folder = tmp_path_factory.mktemp("drawn")
    paths = [folder / str(seed) / "image.tif" for seed in range(4)]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        tifffile.imwrite(path, draw(seed), photometric="rgb")
    return paths


@pytest.fixture
def warnings(listen: Callable[..., list[str]]) -> list[str]:
    """Collect what is warned of."""
    return listen("cellseg.images.stain_check")


def test_shift_when_channels_are_swapped_then_its_sign_changes() -> None:
    image = draw(0)
    assert measure_blue_shift(image) > 0.03
    assert measure_blue_shift(image[..., ::-1]) == pytest.approx(-measure_blue_shift(image))


@pytest.mark.parametrize("kind", ["white", "gray", "dark ground", "brown stain"])
def test_shift_when_no_tissue_is_stained_like_that_then_it_does_not_count(kind: str) -> None:
    rng = np.random.default_rng(0)
    amount = rng.uniform(0, 1, (128, 128, 1))
    if kind == "white":
        image = np.full((128, 128, 3), 250)
    elif kind == "gray":
        image = np.repeat(255 * amount, 3, axis=2)
    elif kind == "dark ground":
        image = 255 * (amount > 0.8) * np.array([1, 0.2, 0.1])
    else:
        image = 255 * 10 ** (-amount * np.array([0.78, 0.57, 0.27]))  # DAB in B, G, R
    assert not measure_blue_shift(image.astype(np.uint8)) < -0.03


def test_warning_when_the_order_is_wrong_then_it_comes_once_and_names_the_option(
    drawn: list[Path], warnings: list[str]
) -> None:
    for _ in range(2):  # as train and val data of one folder
        warn_of_swapped_channels(drawn, {"channel_order": "rgb"}, "--channel-order {order}")
    assert len(warnings) == 1
    assert "3 of 4 images" in warnings[0]
    assert warnings[0].endswith("set --channel-order bgr.")


def test_warning_when_the_order_is_right_then_there_is_none(drawn, warnings) -> None:
    warn_of_swapped_channels(drawn, {"channel_order": "bgr"}, "--channel-order {order}")
    assert warnings == []


def test_warning_when_the_files_are_pictures_then_there_is_none(tmp_path, warnings) -> None:
    import cv2

    for seed in range(3):  # stored swapped, but no option concerns them
        cv2.imwrite(str(tmp_path / f"{seed}.png"), draw(seed)[..., ::-1])
    warn_of_swapped_channels(sorted(tmp_path.glob("*.png")), {}, "{order}")
    assert warnings == []


@pytest.mark.parametrize(
    ("folder", "order"),
    [
        ("hw3/train", "bgr"),
        ("dsb2018_stained/train", "rgb"),
        ("consep/train", "rgb"),
        ("monuseg/train", "rgb"),
    ],
)
def test_count_when_images_are_real_then_only_the_wrong_order_looks_swapped(
    real_data: Path, folder: str, order: str
) -> None:
    paths = sorted((real_data / folder).glob("*/image.tif"))
    swapped, right, opened = count_swapped(paths, {"channel_order": order})
    assert right > 0.7 * opened
    assert swapped <= 1
    wrong = {"rgb": "bgr", "bgr": "rgb"}[order]
    assert count_swapped(paths, {"channel_order": wrong}) == (right, swapped, opened)


def test_array_when_its_channels_are_swapped_then_a_warning_names_the_option(warnings) -> None:
    assert not warn_of_swapped_array(draw(0))
    assert warnings == []
    assert warn_of_swapped_array(draw(0)[..., ::-1])
    assert "channel_order='bgr'" in warnings[0]
