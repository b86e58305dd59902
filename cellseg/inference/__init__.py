"""Find cells in images of any size, and hand them to other tools."""

from cellseg.inference.mask_tta import CellTTAModel
from cellseg.inference.predictor import Predictor
from cellseg.inference.tile_plan import TileOptions
from cellseg.structures.cells import Cells

__all__ = ["CellTTAModel", "Cells", "Predictor", "TileOptions"]
