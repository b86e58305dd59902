"""Write the annotations of a folder of label TIFFs as GeoJSON for QuPath, one file per image.

python tools/dataset_converters/tiff2geojson.py DATA_ROOT OUT_FOLDER
python tools/dataset_converters/tiff2geojson.py DATA_ROOT OUT_FOLDER --classes nucleus
python tools/dataset_converters/tiff2geojson.py DATA_ROOT OUT_FOLDER --images IMAGE_FOLDER

Ignored regions get QuPath's class Ignore*. --images writes each image, too, under a name of its
own and in RGB order, so that QuPath shows it as it is.
"""

from cellseg.cli.converters.to_geojson import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
