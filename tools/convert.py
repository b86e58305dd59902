"""Convert other formats into cellseg's data layout, and this layout into COCO or GeoJSON.

python tools/convert.py coco instances.json images/ data/mine
python tools/convert.py --help             # lists the formats
"""

from cellseg.cli.convert import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
