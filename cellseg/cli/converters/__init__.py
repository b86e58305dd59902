"""The formats of `cellseg convert`, one module each; like the commands, light until `main` runs."""
