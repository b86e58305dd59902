import cv2

from cellseg.cluster.cohort_plot import plot_cohort


def test_picture_when_images_are_many_then_bars_are_means_and_it_can_be_read(tmp_path) -> None:
    for count in (1, 1000):
        rows = [{"image": f"i{n}", "cells": n, "cells_a": n, "cells_b": 0} for n in range(count)]
        path = plot_cohort(rows, ("a", "b"), tmp_path / "p.png")
        picture = cv2.imread(str(path))
        assert picture is not None
        assert picture.shape[1] <= 2000


def test_picture_when_no_image_has_a_count_then_there_is_none(tmp_path) -> None:
    rows = [{"image": "a", "cells": None, "cells_x": None}]
    assert plot_cohort(rows, ("x",), tmp_path / "p.png") is None
    assert not (tmp_path / "p.png").exists()
