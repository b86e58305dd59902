"""What `tiled_prediction.py` and `seams.py` share: drawn slides, measuring and comparing."""
