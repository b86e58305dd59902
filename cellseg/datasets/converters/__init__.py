"""Bring other people's annotations into this project's layout, a folder an image.

A format is a function that returns a `Source`; `convert` does the rest for all of them.
"""

from cellseg.datasets.converters.annotations import (
    AnnotatedImage,
    Annotation,
    Crop,
    Drawing,
    Loss,
    Source,
    UnusableAnnotationError,
)
from cellseg.datasets.converters.conversion import convert

__all__ = [
    "AnnotatedImage",
    "Annotation",
    "Crop",
    "Drawing",
    "Loss",
    "Source",
    "UnusableAnnotationError",
    "convert",
]
