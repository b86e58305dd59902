"""Convert annotations of other formats into this project's layout, one folder per image.

A format is a function that returns a `Source`; `convert` does the rest for all of them.
"""

from cellseg.formats.conversion.annotations import (
    AnnotatedImage,
    Annotation,
    Crop,
    Drawing,
    Loss,
    Source,
    UnusableAnnotationError,
)
from cellseg.formats.conversion.converting import convert

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
