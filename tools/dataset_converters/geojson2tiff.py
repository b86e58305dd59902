"""Convert QuPath's GeoJSON files into label TIFFs, one folder per image.

python tools/dataset_converters/geojson2tiff.py images/ geojson/ data/mine
python tools/dataset_converters/geojson2tiff.py images/ geojson/ data/mine \
    --classes tumour immune --class-map Tumor=tumour "Immune cells=immune" Tissue=drop

Objects of the class Ignore* become ignore.tif. Run again, it continues where it stopped.
"""

from cellseg.cli.converters.geojson import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
