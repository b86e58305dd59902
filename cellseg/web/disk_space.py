"""How much of the server's disk the page may take."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from cellseg.web.guard import RefusedError

FULL = 507  # Insufficient Storage
_LEAST_FOR_STEPS = 4  # a correction is small: it may go below the floor, to this part of it


@dataclass(frozen=True)
class DiskSpace:
    """Limits of all that is kept, whoever sent it.

    Attributes:
        folder: What is kept; it need not be there yet, its parent is.
        max_bytes: Size of all files in it, beyond which no upload is taken.
        least_free: What uploads leave free on the disk, in bytes.
    """

    folder: Path
    max_bytes: int = 50 * 2**30
    least_free: int = 2**30

    def check_upload(self, num_bytes: int) -> None:
        """Refuse what would take more than there is.

        Args:
            num_bytes: What is still to be written.

        Raises:
            RefusedError: If it does not fit.
        """
        if self._measure_free() - num_bytes < self.least_free:
            raise RefusedError(
                FULL,
                f"The disk of the server has less than {self.least_free / 2**30:.3g} GiB left for "
                "other things than images; remove some images, or tell its administrator.",
            )
        if _measure_folder(self.folder) + num_bytes > self.max_bytes:
            raise RefusedError(
                FULL,
                f"All images together have reached the limit of {self.max_bytes / 2**30:.3g} GiB; "
                "remove some images, or start the page with a larger --max-gb.",
            )

    def check_step(self) -> None:
        """Refuse to write corrections where the disk is nearly full.

        Raises:
            RefusedError: If it is.
        """
        if self._measure_free() < self.least_free / _LEAST_FOR_STEPS:
            raise RefusedError(
                FULL, "The disk of the server is nearly full; tell its administrator."
            )

    def _measure_free(self) -> int:
        """Return the free bytes of the disk."""
        there = self.folder if self.folder.exists() else self.folder.parent
        return shutil.disk_usage(there).free


def _measure_folder(folder: Path) -> int:
    """Sum up the sizes of all files in a folder; those that vanish meanwhile do not count."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(place, name).lstat().st_size
            except OSError:
                continue
    return total
