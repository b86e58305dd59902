"""Convert images with label maps, as of Cellpose and StarDist, into one folder per image.

python tools/dataset_converters/labels2tiff.py cellpose_folder/ data/mine
python tools/dataset_converters/labels2tiff.py stardist/images data/mine --labels stardist/masks

Label maps are <image>_masks.tif or .png beside the images, or have the images' names in a folder of
their own. Run again, it continues where it stopped.
"""

from cellseg.cli.converters.labels import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
