"""The one door for images: every reader of this project opens image files here.

from cellseg.images import open_image

with open_image("slide.svs") as image:
    tile = image.read_rgb(x=0, y=0, width=1024, height=1024)  # (1024, 1024, 3) uint8
"""

from cellseg.images.eight_bit import (
    DEFAULT_MAX_PIXELS,
    check_image_format,
    check_intensity_range,
)
from cellseg.images.image_source import ArraySource, ImageSize, ImageSource
from cellseg.images.label_maps import read_label_map
from cellseg.images.opening import (
    open_image,
    read_cell_image,
    read_image_size,
    read_opened_size,
    read_stored_image,
    summarize_image,
)
from cellseg.images.resampling import ResampledSource

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "ArraySource",
    "ImageSize",
    "ImageSource",
    "ResampledSource",
    "check_image_format",
    "check_intensity_range",
    "open_image",
    "read_cell_image",
    "read_image_size",
    "read_label_map",
    "read_opened_size",
    "read_stored_image",
    "summarize_image",
]
