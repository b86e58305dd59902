"""Find cells in images of any size, and hand them to other tools."""

from cellseg.inference.cells import Cells
from cellseg.inference.mask_tta import CellTTAModel
from cellseg.inference.predictor import Predictor
from cellseg.inference.tile_plan import TileOptions

__all__ = ["CellTTAModel", "Cells", "Predictor", "TileOptions"]
