"""Time StarDist's network on one image, in an environment that has stardist and tensorflow.

The network has the shape of StarDist's H&E model: U-Net of depth 3, grid of 2, 32 rays, 3 channels.
Its weights are random, which is enough for time; its non-maximum suppression is not counted.
"""

import json
import os
import resource
import sys
import tempfile
import time

job = json.loads(sys.argv[1])
os.environ["OMP_NUM_THREADS"] = str(job["threads"])
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import numpy as np  # noqa: E402  (after the number of threads is set)
import tensorflow as tf  # noqa: E402

tf.config.threading.set_intra_op_parallelism_threads(job["threads"])
tf.config.threading.set_inter_op_parallelism_threads(1)

from stardist.models import Config2D, StarDist2D  # noqa: E402

image = np.load(job["image"]).astype(np.float32) / 255
height, width = (side // 16 * 16 for side in image.shape[:2])  # what the network divides
batch = image[None, :height, :width]
config = Config2D(n_channel_in=3, n_rays=32, grid=(2, 2), unet_n_depth=3)
with tempfile.TemporaryDirectory() as folder:
    network = StarDist2D(config, name="shape", basedir=folder).keras_model
    seconds = []
    for _ in range(job["repeats"] + 1):
        begin = time.perf_counter()
        network.predict_on_batch(batch)
        seconds.append(time.perf_counter() - begin)
peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kilobytes, on Linux
share = image.shape[0] * image.shape[1] / (height * width)  # of the rows and columns left out
result = {"seconds": [value * share for value in seconds[1:]], "cells": None, "peak_gb": peak_gb}
sys.stdout.write(json.dumps({**result, "parts": {}}) + "\n")
