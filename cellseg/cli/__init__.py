"""The `cellseg` command: one module per subcommand, light enough that its help appears at once.

A module holds the flags (`add_arguments`) and `main`, and imports nothing heavy before `main` runs;
the work itself stands in `tasks/`. The scripts of tools/ are doors to the same functions.
"""
