"""NMS and RoIAlign written plainly in numpy, after mmcv's CPU kernels: what the ops must equal."""

import numpy as np


def plain_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, offset: int) -> list[int]:
    """Keep boxes (N, 4) by falling score (N,), in float32 and one pair after the other."""
    plus, kept = np.float32(offset), []
    boxes = boxes.astype(np.float32)
    with np.errstate(all="ignore"):
        areas = (boxes[:, 2] - boxes[:, 0] + plus) * (boxes[:, 3] - boxes[:, 1] + plus)
        for candidate in np.argsort(-scores, kind="stable"):
            x1, y1, x2, y2 = boxes[candidate]
            for better in kept:
                width = min(x2, boxes[better, 2]) - max(x1, boxes[better, 0]) + plus
                height = min(y2, boxes[better, 3]) - max(y1, boxes[better, 1]) + plus
                inter = max(np.float32(0), width) * max(np.float32(0), height)
                iou = inter / (areas[better] + areas[candidate] - inter)
                if iou > np.float32(threshold):
                    break
            else:
                kept.append(int(candidate))
    return kept


def _interpolation(place: float, size: int, dtype: type) -> np.ndarray:
    """Return the weight of each of ``size`` pixels for a sample; zeros where it lies outside."""
    weights = np.zeros(size, dtype)
    if place < -1 or place > size:
        return weights
    place = min(max(place, 0), size - 1)
    lower = int(place)
    weights[lower] += 1 - (place - lower)
    weights[min(lower + 1, size - 1)] += place - lower
    return weights


def _bin_weights(
    start: float, end: float, bins: int, size: int, scale: float, samples: int, aligned: bool
) -> np.ndarray:
    """Return the weights (bins, size) of the pixels along one axis for each bin of a RoI."""
    dtype = type(start)
    shift = dtype(0.5 if aligned else 0)
    start, end = start * dtype(scale) - shift, end * dtype(scale) - shift
    length = (end - start if aligned else max(end - start, dtype(1))) / dtype(bins)
    number = samples if samples > 0 else max(int(np.ceil(length)), 0)
    weights = np.zeros((bins, size), dtype)
    for row in range(bins):
        for sample in range(number):
            place = start + dtype(row) * length + dtype(sample + 0.5) * length / dtype(number)
            weights[row] += _interpolation(place, size, dtype) / dtype(number)
    return weights


def plain_roi_align(
    features: np.ndarray,
    rois: np.ndarray,
    size: tuple[int, int],
    scale: float,
    samples: int,
    aligned: bool,
    grad: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Average RoIs (n, 5) of (B, C, h, w) features, and send a gradient back to the features.

    Returns:
        (n, C, *size) values, and the gradient of their sum weighted with ``grad``.
    """
    height, width = features.shape[2:]
    values = np.zeros((len(rois), features.shape[1], *size), features.dtype)
    features_grad = np.zeros_like(features)
    for number, (image, x1, y1, x2, y2) in enumerate(rois):
        rows = _bin_weights(y1, y2, size[0], height, scale, samples, aligned)
        columns = _bin_weights(x1, x2, size[1], width, scale, samples, aligned)
        values[number] = rows @ features[int(image)] @ columns.T
        features_grad[int(image)] += rows.T @ grad[number] @ columns
    return values, features_grad
