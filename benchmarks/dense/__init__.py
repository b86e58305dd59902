"""Side-by-side measurements of this project's parts and MMDetection's own."""

import cellseg  # noqa: F401  (lets MMDetection work without mmcv's compiled ops)
