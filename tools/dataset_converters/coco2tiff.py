"""Convert COCO instance annotations into label TIFFs, one folder per image.

python tools/dataset_converters/coco2tiff.py instances.json images/ data/mine
python tools/dataset_converters/coco2tiff.py instances.json images/ data/mine \
    --classes tumour immune --class-map Tumor=tumour "T cell=immune" Debris=ignore

Crowds become ignore.tif. Run again, it continues where it stopped.
"""

from cellseg.cli.converters.coco import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
