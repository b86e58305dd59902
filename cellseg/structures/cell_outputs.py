"""What `Cells` gives to people and other programs: pictures, tables, outlines.

The parts of the package that draw and write are imported when a method is called, so that the type
itself stays light; this module is the only one that looks upwards (tests/test_rooms.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from cellseg.structures.cells import Cells

_SHOWN_PX = 768


class CellOutputs:
    """Methods of `Cells` that draw, tabulate and export."""

    def __repr__(self) -> str:
        """Say how many cells of which class there are; a list of all boxes would help no reader."""
        cells = cast("Cells", self)
        counts = [
            f"{name}: {int((cells.labels == label).sum())}"
            for label, name in enumerate(cells.class_names)
        ]
        return (
            f"<{', '.join([f'{len(cells)} cells in {cells.width} x {cells.height} px', *counts])}>"
        )

    def plot(
        self,
        image: NDArray[np.uint8] | None = None,
        axes: Axes | None = None,
        palette: Sequence[tuple[int, int, int]] = (),
    ) -> Axes:
        """Show the outlines in matplotlib, with a legend, and a scale bar if the scale is known.

        Args:
            image: (H, W, 3) uint8 RGB or (H, W) uint8 to draw on; a dark background when None.
            axes: Where to draw; axes of a new figure when None.
            palette: One color (R, G, B) per class; the default ones when empty.

        Returns:
            The axes.

        >>> import matplotlib; matplotlib.use("Agg")
        >>> import numpy as np
        >>> from cellseg import Cells
        >>> cells = Cells.from_label_map(np.eye(50, dtype=int), class_names=("nucleus",))
        >>> cells.plot().get_title()
        ''
        """
        from cellseg.visualization.cell_picture import plot_cells

        return plot_cells(cast("Cells", self), image, axes, palette)

    def to_pandas(self, image: NDArray[np.uint8] | None = None) -> Any:
        """Measure the cells: class, score, area, center, axes, and stains if the image is given.

        Args:
            image: (H, W, 3) uint8 RGB that the cells were found in, for the stains.

        Returns:
            A pandas.DataFrame of one row per cell; its columns are those of `cellseg predict
            --format csv`.

        Raises:
            CellsegError: If pandas is not installed.

        >>> import numpy as np
        >>> from cellseg import Cells
        >>> cells = Cells.from_label_map(np.array([[1, 1, 0], [0, 0, 2]]), class_names=("nucleus",))
        >>> cells.to_pandas()["area_px"].tolist()  # doctest: +SKIP
        [2, 1]
        """
        from cellseg.errors import CellsegError

        try:
            import pandas
        except ImportError as error:
            raise CellsegError("to_pandas needs the package pandas: pip install pandas") from error
        from cellseg.formats.tables import measure_cells
        from cellseg.images import ArraySource

        source = None if image is None else ArraySource(image[..., ::-1])
        return pandas.DataFrame(measure_cells(cast("Cells", self), source))

    def to_geojson(self) -> dict[str, Any]:
        """Write the outlines as a GeoJSON FeatureCollection, as QuPath reads them.

        Returns:
            The collection, in pixels of the full-resolution image; `json.dump` writes it.

        >>> import numpy as np
        >>> from cellseg import Cells
        >>> cells = Cells.from_label_map(np.array([[1, 1, 0], [0, 0, 2]]), class_names=("nucleus",))
        >>> collection = cells.to_geojson()
        >>> [feature["geometry"]["type"] for feature in collection["features"]]
        ['Polygon', 'Polygon']
        """
        from cellseg.formats.geojson import cells_to_features

        features = list(cells_to_features(cast("Cells", self)))
        return {"type": "FeatureCollection", "features": features}

    def _repr_png_(self) -> bytes:
        """Show the outlines, where a notebook asks for a picture."""
        from cellseg.visualization.cell_picture import draw_cells, encode_png

        cells = cast("Cells", self)
        return encode_png(draw_cells(cells, min_side_px=_SHOWN_PX // 2, max_side_px=_SHOWN_PX))

    def _repr_html_(self) -> str:
        """Say what there is and show the outlines, where a notebook asks for HTML."""
        from base64 import b64encode

        cells = cast("Cells", self)
        names = ", ".join(map(escape, cells.class_names))
        text = f"{len(cells):,} cells in {cells.width} x {cells.height} px"
        picture = b64encode(self._repr_png_()).decode("ascii")
        return (
            f"<div><p>{text}{f' ({names})' if names else ''}</p>"
            f'<img alt="{text}, outlined" style="max-width: 100%" '
            f'src="data:image/png;base64,{picture}"></div>'
        )
