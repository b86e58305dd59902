import numpy as np
import pytest

from cellseg.images import ArraySource


def test_array_source_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        ArraySource(np.zeros((5, 5, 3)))
