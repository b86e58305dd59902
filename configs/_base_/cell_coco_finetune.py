"""The name that cell_gpu.py had in version 0.1.0; configs that inherit it still work."""

_base_ = ["./cell_gpu.py"]
