"""A detector that sees perfectly, slowly, and dies at the sight of one color: for faults."""

import os
import signal
import time
from pathlib import Path

from mmdet.registry import MODELS

from tests.inference.oracle import ColorOracle

KILLING = (1, 2, 3)
"""A first pixel of this color kills the process that looks at it."""
DELAY_NAME = "CELLSEG_TEST_DELAY"
SEEN_NAME = "CELLSEG_TEST_SEEN"


@MODELS.register_module(force=True)
class FaultOracle(ColorOracle):
    """Waits before each batch, and kills its process where an image starts with KILLING.

    It leaves a file named by its process in the folder SEEN_NAME, so that tests find workers.
    """

    def test_step(self, data):
        seen = os.environ.get(SEEN_NAME)
        if seen:
            (Path(seen) / str(os.getpid())).touch()
        time.sleep(float(os.environ.get(DELAY_NAME, "0")))
        for image in data["inputs"]:
            if tuple(image[:, 0, 0].tolist()) == KILLING:
                if seen:
                    (Path(seen) / f"killed-{os.getpid()}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return super().test_step(data)
