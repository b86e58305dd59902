"""Let `python -m cellseg` be the `cellseg` command."""

import sys

from cellseg.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
