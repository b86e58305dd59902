"""Pictures: outlines on images, ground truth beside predictions, curves of training."""

from cellseg.visualization.cell_visualizer import CellVisualizer

__all__ = ["CellVisualizer"]
