"""Find cells in images of any size, and write them for other tools.

python tools/predict.py CONFIG CHECKPOINT images/ slide.svs "more/*.tif" --out predictions
python tools/predict.py CONFIG CHECKPOINT slide.tif --out predictions --format geojson csv --mpp 0.5
python tools/predict.py CONFIG CHECKPOINT images/ --out out --ensemble second.pth OTHER.py:third.pth
python tools/predict.py CONFIG CHECKPOINT slides/ --out predictions --dask local:4

Run again, it continues where it stopped. An image that cannot be read is reported and skipped; the
exit status is then 1.
"""

from cellseg.cli.predict import add_tool_arguments as add_arguments
from cellseg.cli.predict import main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
