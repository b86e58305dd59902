"""Write the annotations of a folder of label TIFFs as one COCO file.

python tools/dataset_converters/tiff2coco.py DATA_ROOT OUT.json
python tools/dataset_converters/tiff2coco.py DATA_ROOT OUT.json --classes nucleus
python tools/dataset_converters/tiff2coco.py DATA_ROOT OUT.json --classes tumour immune \
    --label-files tumour.tif immune.tif
"""

from cellseg.cli.converters.to_coco import add_arguments, main
from cellseg.cli.running import run_tool

if __name__ == "__main__":
    run_tool(__doc__, add_arguments, main)
