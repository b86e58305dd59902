"""Importing this module registers all parts of the project with MMDetection and MMEngine.

Nothing else needs to import it: see `cellseg.import_hooks`.
"""

from cellseg import datasets, engine, inference, models, scoring, visualization

__all__ = ["datasets", "engine", "inference", "models", "scoring", "visualization"]
