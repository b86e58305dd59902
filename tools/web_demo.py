"""View images in a browser, find and correct their cells, and export them.

python tools/web_demo.py CONFIG CHECKPOINT
python tools/web_demo.py CONFIG CHECKPOINT --port 8000 --device cuda --score-thr 0.3

The page is served on this machine only, makes no network requests, and is ended with Ctrl-C.
Corrections and uploads are kept in the folder --keep. `cellseg web` takes images, too.
"""

from cellseg.cli.running import run_tool
from cellseg.cli.web import add_tool_arguments, main

if __name__ == "__main__":
    run_tool(__doc__, add_tool_arguments, main)
