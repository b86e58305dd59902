"""Predictions joined with the ground truth, image by image."""

from cellseg.formats.prediction_set import PredictionSet, join_results
from tests.formats.drawn_truth import IMAGES, SHAPE


def test_join_when_an_image_has_no_prediction_then_an_empty_one_of_its_size() -> None:
    found = IMAGES[1].cells
    results = join_results(IMAGES, PredictionSet({IMAGES[1].img_id: found}, [IMAGES[0].name]))
    assert [result.img_id for result in results] == [image.img_id for image in IMAGES]
    assert len(results[0].predictions) == 0
    assert (results[0].predictions.height, results[0].predictions.width) == SHAPE
    assert results[0].predictions.class_names == IMAGES[0].cells.class_names
    assert results[1].predictions is found
    assert [result.ground_truth for result in results] == [image.cells for image in IMAGES]


def test_join_when_predictions_are_of_other_images_then_left_out() -> None:
    results = join_results(IMAGES[:1], PredictionSet({99: IMAGES[1].cells}, []))
    assert [len(result.predictions) for result in results] == [0]
    assert join_results([], PredictionSet({}, [])) == []


def test_truth_image_always_has_the_size_of_its_cells() -> None:
    assert (IMAGES[0].height, IMAGES[0].width) == SHAPE
