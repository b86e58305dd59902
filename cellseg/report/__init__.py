"""One HTML page on how good predictions are and where they fail."""
