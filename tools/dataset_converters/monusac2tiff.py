"""Convert MoNuSAC's original images and XML files into label TIFFs, one folder per image.

python tools/dataset_converters/monusac2tiff.py MoNuSAC_images_and_annotations data/monusac
python tools/dataset_converters/monusac2tiff.py MoNuSeg data/monuseg \
    --classes nucleus --class-map unnamed=nucleus

Ambiguous regions become ignore.tif. Run again, it continues where it stopped.
"""

from cellseg.cli.converters.monusac import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
