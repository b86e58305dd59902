"""cellseg: instance segmentation of dense cell images on top of MMDetection.

Importing the package registers its parts with MMDetection, which is what
`custom_imports = dict(imports=["cellseg"])` in the configs is for.
"""

from cellseg import datasets, engine, evaluation, inference, models, visualization

__all__ = ["datasets", "engine", "evaluation", "inference", "models", "visualization"]
