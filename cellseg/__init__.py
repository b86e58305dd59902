"""cellseg: instance segmentation of dense cell images on top of MMDetection."""
