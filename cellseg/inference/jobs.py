"""Predict many images into a folder in this process: resumable, past bad files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from cellseg.images import read_opened_size
from cellseg.images.stain_check import warn_of_swapped_channels
from cellseg.inference.image_list import InputImage
from cellseg.inference.image_work import ImageOutcome, ImageWork, Progress
from cellseg.inference.output_folder import OutputOptions
from cellseg.inference.predictor import Predictor
from cellseg.inference.scale_choice import ScaleChoice


class PredictionJob:
    """Predict a list of images.

    `cellseg.cluster` does the same on many machines, with the same outputs, byte for byte.

    Args:
        predictor: The model, its score threshold low enough for all outputs.
        images: From `find_input_images`.
        options: What to write.
        settings: Whatever else decides the result (checkpoint, flags); outputs made with other
            settings are made again.
    """

    def __init__(
        self,
        predictor: Predictor,
        images: Sequence[InputImage],
        options: OutputOptions,
        settings: dict[str, Any] | None = None,
    ) -> None:
        """Keep the parts; see the class."""
        self.predictor = predictor
        self.images = list(images)
        self.options = options
        self._work = ImageWork(predictor, options, settings)
        self._choices: dict[str, ScaleChoice] = {}

    def run(
        self,
        progress: Progress | None = None,
        announce: Callable[[int], None] | None = None,
    ) -> list[ImageOutcome]:
        """Predict what is not finished yet.

        Args:
            progress: Called with the tiles done and the cells found since the last call; merging
                tiles lowers the cells later.
            announce: Called once, before the first tile, with the tiles to do.

        Returns:
            One outcome per image, in their order.

        Raises:
            CellsegError: If an output would replace one of the images or the outputs of another
                one, or another job writes into the folder.
        """
        folder = self._work.folder
        folder.take()
        try:
            outcomes, tiles = self._plan()
            if announce is not None:
                announce(sum(tiles.values()))
            for index in tiles:
                image = self.images[index]
                outcomes[index] = self._work.do(image, self._choices.get(image.name), progress)
            if "coco" in self.options.formats:
                folder.join_coco(self.images)
        finally:
            folder.release()
        return [outcomes[index] for index in sorted(outcomes)]

    def _plan(self) -> tuple[dict[int, ImageOutcome], dict[int, int]]:
        """Find which images are finished, and how many tiles each of the others has.

        An image that cannot be used has none; it is reported when its turn comes.
        """
        finished, open_ones = check_images(self._work, self.images)
        tiles = dict.fromkeys(open_ones, 0)
        for index in tiles:
            image = self.images[index]
            with suppress(Exception):
                choice = self._choices[image.name] = self._work.choose_scale(image)
                size = read_opened_size(image.path, self.options.mpp, self.options.pixel_size_um)
                tiles[index] = len(self.predictor.plan_tiles(size, choice).tiles)
        return finished, tiles


def check_images(
    work: ImageWork, images: Sequence[InputImage]
) -> tuple[dict[int, ImageOutcome], list[int]]:
    """Find which images are finished and which are to do, and clear what a killed run left.

    Args:
        work: The run's way of doing an image; its folder is taken.
        images: All images of the run.

    Returns:
        The outcomes of the finished images by their places, and the places of the others.

    Raises:
        CellsegError: If an output would replace one of the images or the outputs of another one.
    """
    folder = work.folder
    folder.refuse_replacing(images)
    folder.refuse_mixing(images)
    warn_of_swapped_channels(
        [image.path for image in images if image.url is None],
        work.predictor.image_format,
        "--channel-order {order}",
    )
    records = [folder.read_finished(image) for image in images]
    finished = {
        place: ImageOutcome.from_record(images[place].name, record)
        for place, record in enumerate(records)
        if record is not None
    }
    open_ones = [place for place in range(len(images)) if place not in finished]
    folder.remove_half_written([images[place] for place in open_ones])
    return finished, open_ones
