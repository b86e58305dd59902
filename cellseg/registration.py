"""Importing this module registers all parts of the project with MMDetection and MMEngine.

Nothing else needs to import it: see `cellseg.import_hooks`.
"""

from cellseg import datasets, engine, inference, models, visualization
from cellseg.scoring import dump_results, metric

__all__ = ["datasets", "dump_results", "engine", "inference", "metric", "models", "visualization"]
