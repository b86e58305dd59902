"""Cell images on disk: readers, the data set, its loading transforms and drawn samples."""

from cellseg.datasets.cell_dataset import CellDataset
from cellseg.datasets.transforms import LoadCellImage, LoadLabelMaps
from cellseg.datasets.transforms_copy_paste import CellCopyPaste
from cellseg.datasets.transforms_resize import LimitedResize
from cellseg.datasets.transforms_stain import StainJitter
from cellseg.datasets.transforms_transpose import RandomTranspose
from cellseg.errors import CellDataError
from cellseg.images import read_cell_image, read_label_map

__all__ = [
    "CellCopyPaste",
    "CellDataError",
    "CellDataset",
    "LimitedResize",
    "LoadCellImage",
    "LoadLabelMaps",
    "RandomTranspose",
    "StainJitter",
    "read_cell_image",
    "read_label_map",
]
