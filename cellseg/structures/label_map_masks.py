"""Instance masks held as label maps: any number of cells for the price of one integer map a layer.

`LabelMapMasks` takes the place of mmdet's `BitmapMasks` from loading to the mask loss. Each layer
is one (H, W) map in which no two cells overlap; a mask is a layer and an id in it. Geometry moves
the layers, indexing picks (layer, id) pairs, and no full-size mask is made unless one asks for it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Self, TypeAlias

import mmcv
import numpy as np
import torch
from mmdet.structures.bbox import BaseBoxes, HorizontalBoxes, get_box_type
from mmdet.structures.mask import BitmapMasks
from mmdet.structures.mask.structures import BaseInstanceMasks, both_imtranslate
from mmdet.utils.util_random import ensure_rng
from numpy.typing import ArrayLike, DTypeLike, NDArray

from cellseg.structures.layers import as_bytes, as_layers, from_bytes, warp_layer
from cellseg.structures.rle import RLE, encode_label_map, measure_label_map
from cellseg.structures.roi_targets import sample_rois

Index: TypeAlias = int | slice | list | np.ndarray | torch.Tensor


class LabelMapMasks(BaseInstanceMasks):
    """N masks as (layer, id) pairs into L label maps; mask i is `layers[layer] == id`.

    Results share pixels with their source where they can, so the layers must not be written to.
    All geometry is nearest-neighbor, whatever interpolation is asked for: a mean of two ids is no
    id. On maps without overlap it gives the very pixels of `BitmapMasks` with 'nearest'.

    Args:
        layers: (L, H, W) integer label maps that fit into int32; 0 is background.
        layer_inds: (N,) the layer of each mask.
        label_ids: (N,) the positive id of each mask in its layer. N may be 0, and then L may be 0.

    Raises:
        ValueError: If the shapes do not fit together or an id or a layer is out of range.
    """

    def __init__(self, layers: NDArray, layer_inds: ArrayLike, label_ids: ArrayLike) -> None:
        """Check that the parts fit together."""
        self.layers = as_layers(layers)  # (L, H, W)
        self.layer_inds = np.asarray(layer_inds, dtype=np.int64).reshape(-1)
        self.label_ids = np.asarray(label_ids, dtype=np.int64).reshape(-1)
        if len(self.layer_inds) != len(self.label_ids):
            raise ValueError(
                f"{len(self.layer_inds)} layer indices came with {len(self.label_ids)} label ids; "
                "each mask needs one of both."
            )
        if len(self.layer_inds) and not (
            0 <= self.layer_inds.min() <= self.layer_inds.max() < len(self.layers)
        ):
            raise ValueError(f"A mask names a layer outside the {len(self.layers)} given.")
        if (self.label_ids <= 0).any():
            raise ValueError("A mask has an id that is not positive; 0 is the background.")
        self.height, self.width = self.layers.shape[1:]

    def __getitem__(self, index: Index) -> Self:
        """Pick masks in O(N), without touching a pixel.

        Args:
            index: An integer, slice, list, or an integer or bool array or tensor (N,).

        Returns:
            The picked masks on the same layers; an integer gives one mask.
        """
        if isinstance(index, torch.Tensor):
            index = index.detach().cpu().numpy()
        elif isinstance(index, list) and not index:
            index = slice(0, 0)
        return type(self)(self.layers, self.layer_inds[index], self.label_ids[index])

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """Yield each mask in turn as (H, W) uint8 of 0 and 1."""
        for layer_ind, label_id in zip(self.layer_inds, self.label_ids, strict=True):
            yield (self.layers[layer_ind] == label_id).view(np.uint8)

    def __len__(self) -> int:
        """Count the masks."""
        return len(self.label_ids)

    def __repr__(self) -> str:
        """Name the sizes."""
        return (
            f"{type(self).__name__}(num_masks={len(self)}, num_layers={len(self.layers)}, "
            f"height={self.height}, width={self.width})"
        )

    def rescale(
        self, scale: float | tuple[int, int], interpolation: str = "nearest"
    ) -> "LabelMapMasks":
        """Rescale as far as `scale` allows, keeping the aspect ratio.

        Args:
            scale: A factor, or the largest long and short side in pixels; see `mmcv.imrescale`.
            interpolation: Taken for compatibility; nearest-neighbor is used always.

        Returns:
            The rescaled masks.
        """
        width, height = mmcv.rescale_size((self.width, self.height), scale)
        return self.resize((height, width))

    def resize(self, out_shape: tuple[int, int], interpolation: str = "nearest") -> "LabelMapMasks":
        """Resize to `out_shape` (height, width); any interpolation means nearest-neighbor."""
        if len(self) and tuple(out_shape) == (self.height, self.width):
            return self

        def resize_layer(layer: NDArray[np.int32]) -> NDArray[np.int32]:
            size = (int(out_shape[1]), int(out_shape[0]))
            return from_bytes(mmcv.imresize(as_bytes(layer), size, interpolation="nearest"))

        return self._map_layers(resize_layer, out_shape)

    def flip(self, flip_direction: str = "horizontal") -> "LabelMapMasks":
        """Flip along 'horizontal', 'vertical' or 'diagonal' (both)."""
        return self._map_layers(
            lambda layer: mmcv.imflip(layer, direction=flip_direction), (self.height, self.width)
        )

    def pad(self, out_shape: tuple[int, int], pad_val: float = 0) -> "LabelMapMasks":
        """Pad with background at the right and at the bottom.

        Args:
            out_shape: Height and width afterwards, neither smaller than now.
            pad_val: Only 0, since other values would add the padding to every mask.

        Returns:
            The padded masks.

        Raises:
            ValueError: If pad_val is not 0 or out_shape is too small.
        """
        _require_background(pad_val, "pad_val")
        if len(self) and tuple(out_shape) == (self.height, self.width):
            return self
        return self.expand(*out_shape, top=0, left=0)

    def expand(self, expanded_h: int, expanded_w: int, top: int, left: int) -> "LabelMapMasks":
        """Place the masks on a larger canvas of background.

        Args:
            expanded_h: Height of the canvas in pixels.
            expanded_w: Width of the canvas in pixels.
            top: Row of the canvas that row 0 comes to.
            left: Column of the canvas that column 0 comes to.

        Returns:
            The masks on the canvas.

        Raises:
            ValueError: If the masks do not fit there.
        """
        bottom, right = top + self.height, left + self.width
        if len(self) and (min(top, left) < 0 or bottom > expanded_h or right > expanded_w):
            raise ValueError(
                f"Masks of {self.height} x {self.width} do not fit at row {top}, column {left} of "
                f"{expanded_h} x {expanded_w}; crop them first."
            )

        def expand_layer(layer: NDArray[np.int32]) -> NDArray[np.int32]:
            canvas = np.zeros((expanded_h, expanded_w), dtype=np.int32)
            canvas[top:bottom, left:right] = layer
            return canvas

        return self._map_layers(expand_layer, (expanded_h, expanded_w))

    def crop(self, bbox: NDArray[np.integer]) -> "LabelMapMasks":
        """Cut out one box, as a view: nothing is copied.

        Args:
            bbox: (4,) integer x1, y1, x2, y2 in pixels, x2 and y2 exclusive. It is clipped to the
                image and then at least one pixel wide and high.

        Returns:
            The cropped masks; those outside the box stay, without a pixel.

        Raises:
            ValueError: If bbox is no (4,) array or lies wholly outside the image.
        """
        if not isinstance(bbox, np.ndarray) or bbox.shape != (4,):
            raise ValueError("A crop box must be an array (4,) of x1, y1, x2, y2.")
        x1, x2 = np.clip(bbox[0::2], 0, self.width).tolist()
        y1, y2 = np.clip(bbox[1::2], 0, self.height).tolist()
        width, height = max(x2 - x1, 1), max(y2 - y1, 1)
        if not len(self):
            return self._empty((height, width))
        if x1 + width > self.width or y1 + height > self.height:
            raise ValueError(f"The crop box {bbox.tolist()} lies outside {self!r}.")
        cropped = self.layers[:, y1 : y1 + height, x1 : x1 + width]
        return LabelMapMasks(cropped, self.layer_inds, self.label_ids)

    def crop_and_resize(
        self,
        bboxes: NDArray | torch.Tensor,
        out_shape: tuple[int, int],
        inds: NDArray | torch.Tensor,
        device: str | torch.device = "cpu",
        interpolation: str = "bilinear",
        binarize: bool = True,
    ) -> BitmapMasks:
        """Make the mask targets: RoIAlign of one mask under each box.

        Equal to `BitmapMasks.crop_and_resize` but for rounding of about 1e-6 before the threshold
        of 0.5. Only pixels under the boxes are read. It is computed on the CPU, where the layers
        are, so boxes on a GPU cost one copy; the result is on the CPU, as BitmapMasks' is.

        Args:
            bboxes: (M, 4) x1, y1, x2, y2 in pixels; may reach outside the image. A box without a
                positive width and height gives an empty mask.
            out_shape: Height and width of the results.
            inds: (M,) the mask of each box.
            device: Taken for compatibility.
            interpolation: Taken for compatibility; BitmapMasks ignores it too.
            binarize: Whether to threshold the means at 0.5.

        Returns:
            M masks of out_shape, bool, or floating point without binarize. None without any mask.

        Raises:
            ValueError: If a box is not finite.
        """
        if not len(self):
            return BitmapMasks([], *out_shape)
        rois, inds = (
            array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
            for array in (bboxes, inds)
        )
        if rois.dtype != np.float64:
            rois = rois.astype(np.float32)
        inds = inds.astype(np.int64)
        means = sample_rois(
            self.layers, self.layer_inds[inds], self.label_ids[inds], rois, out_shape
        )
        return BitmapMasks(means >= 0.5 if binarize else means, *out_shape)

    def translate(
        self,
        out_shape: tuple[int, int],
        offset: float | tuple[float, float],
        direction: str = "horizontal",
        border_value: float = 0,
        interpolation: str = "bilinear",
    ) -> "LabelMapMasks":
        """Shift the masks on a canvas that keeps the top left corner.

        Args:
            out_shape: Height and width of the canvas.
            offset: Pixels to the right or down; both for the direction 'both'.
            direction: 'horizontal', 'vertical' or 'both'.
            border_value: Only 0, the background.
            interpolation: Taken for compatibility; nearest-neighbor is used always.

        Returns:
            The shifted masks.
        """
        _require_background(border_value, "border_value")

        def translate_layer(layer: NDArray[np.int32]) -> NDArray[np.int32]:
            canvas = np.zeros(out_shape, dtype=np.int32)
            kept = layer[: out_shape[0], : out_shape[1]]
            canvas[: kept.shape[0], : kept.shape[1]] = kept
            return warp_layer(
                canvas,
                lambda img: both_imtranslate(img, offset, direction, 0, "nearest"),
                len(self),
            )

        return self._map_layers(translate_layer, out_shape)

    def shear(
        self,
        out_shape: tuple[int, int],
        magnitude: float,
        direction: str = "horizontal",
        border_value: float = 0,
        interpolation: str = "bilinear",
    ) -> "LabelMapMasks":
        """Shear the masks in place.

        Args:
            out_shape: Height and width, which must be those of the masks.
            magnitude: The shear factor; see `mmcv.imshear`.
            direction: 'horizontal' or 'vertical'.
            border_value: Only 0, the background.
            interpolation: Taken for compatibility; nearest-neighbor is used always.

        Returns:
            The sheared masks.
        """
        _require_background(border_value, "border_value")
        self._require_same_shape(out_shape, "shear")

        def shear_layer(layer: NDArray[np.int32]) -> NDArray[np.int32]:
            return warp_layer(
                layer, lambda img: mmcv.imshear(img, magnitude, direction, 0, "nearest"), len(self)
            )

        return self._map_layers(shear_layer, out_shape)

    def rotate(
        self,
        out_shape: tuple[int, int],
        angle: float,
        center: tuple[float, float] | None = None,
        scale: float = 1.0,
        border_value: float = 0,
        interpolation: str = "bilinear",
    ) -> "LabelMapMasks":
        """Rotate the masks in place.

        Args:
            out_shape: Height and width, which must be those of the masks.
            angle: In degrees, as `mmcv.imrotate` takes it.
            center: The fixed point x, y in pixels; the middle when None.
            scale: Isotropic scale factor.
            border_value: Only 0, the background.
            interpolation: Taken for compatibility; nearest-neighbor is used always.

        Returns:
            The rotated masks.
        """
        _require_background(border_value, "border_value")
        self._require_same_shape(out_shape, "rotate")

        def rotate_layer(layer: NDArray[np.int32]) -> NDArray[np.int32]:
            return warp_layer(
                layer,
                lambda img: mmcv.imrotate(img, angle, center, scale, interpolation="nearest"),
                len(self),
            )

        return self._map_layers(rotate_layer, out_shape)

    @property
    def areas(self) -> NDArray[np.int64]:
        """Areas (N,) in pixels."""
        return self._measure()[1]

    def get_bboxes(self, dst_type: str | type[BaseBoxes] = "hbox") -> BaseBoxes:
        """Find the tight boxes.

        Args:
            dst_type: The box type, as mmdet names it. Types other than horizontal boxes are made
                from bitmaps, which is slow for many cells.

        Returns:
            N boxes; horizontal ones are float32 x1, y1, x2, y2 in pixels, x2 and y2 exclusive, and
            zeros for an empty mask.
        """
        _, box_type = get_box_type(dst_type)
        if box_type is not HorizontalBoxes:
            return box_type.from_instance_masks(self.to_bitmap())
        return HorizontalBoxes(self._measure()[0].astype(np.float32))

    def encode_rles(self) -> list[RLE]:
        """Encode the N masks in one pass over each layer; a mask without a pixel is empty."""
        rles: list[RLE] = [RLE(size=[], counts="")] * len(self)
        for index in np.unique(self.layer_inds):
            own = np.flatnonzero(self.layer_inds == index)
            ids, places = np.unique(self.label_ids[own], return_inverse=True)
            encoded = encode_label_map(self.layers[index], ids)[3]
            for mask, place in zip(own.tolist(), places.tolist(), strict=True):
                rles[mask] = encoded[place]
        return rles

    def foreground(self) -> NDArray[np.bool_]:
        """Find the pixels (H, W) that belong to at least one mask."""
        covered = np.zeros((self.height, self.width), dtype=bool)
        for index in np.unique(self.layer_inds):
            covered |= np.isin(self.layers[index], self.label_ids[self.layer_inds == index])
        return covered

    def erase(self, region: NDArray[np.bool_]) -> "LabelMapMasks":
        """Take the pixels of a region (H, W) away from every mask, as something laid on top does.

        Returns:
            N masks, of which those that were wholly inside have no pixel left.
        """
        return self._map_layers(
            lambda layer: np.where(region, np.int32(0), layer), (self.height, self.width)
        )

    def to_bitmap(self) -> BitmapMasks:
        """Convert to mmdet's bitmaps, for code that reaches into `.masks`: N x H x W bytes."""
        return BitmapMasks(self.to_ndarray(), self.height, self.width)

    def to_ndarray(self) -> NDArray[np.uint8]:
        """Draw every mask as (N, H, W) uint8 of 0 and 1."""
        masks = np.empty((len(self), self.height, self.width), dtype=np.uint8)
        for index, mask in enumerate(self):
            masks[index] = mask
        return masks

    def astype(self, dtype: DTypeLike) -> NDArray:
        """Draw every mask, as mmdet's visualizer asks of masks that it does not know."""
        return self.to_ndarray().astype(dtype)

    def to_tensor(self, dtype: torch.dtype, device: str | torch.device) -> torch.Tensor:
        """Draw every mask as an (N, H, W) tensor of 0 and 1."""
        return torch.from_numpy(self.to_ndarray()).to(device=device, dtype=dtype)

    @classmethod
    def random(
        cls,
        num_masks: int = 3,
        height: int = 32,
        width: int = 32,
        rng: int | np.random.RandomState | None = None,
    ) -> Self:
        """Make a layer of random pixels, for tests and demonstrations."""
        layer = ensure_rng(rng).randint(0, num_masks + 1, size=(1, height, width))
        return cls(layer, np.zeros(num_masks, dtype=np.int64), np.arange(1, num_masks + 1))

    @classmethod
    def cat(cls, masks: Sequence["LabelMapMasks"]) -> Self:
        """Join masks of one size; the layers of different images are stacked.

        Masks that share their layers, as those indexed from one object do, still share them after.

        Raises:
            ValueError: If there is nothing to join or the sizes differ.
        """
        if not len(masks):
            raise ValueError("There are no masks to join.")
        if len({(part.height, part.width) for part in masks}) > 1:
            raise ValueError("Masks of different sizes cannot be joined; pad or crop them first.")
        sources: dict[int, tuple[int, NDArray[np.int32]]] = {}
        num_layers = 0
        for part in masks:
            if len(part) and id(part.layers) not in sources:
                sources[id(part.layers)] = (num_layers, part.layers)
                num_layers += len(part.layers)
        stacks = [layers for _, layers in sources.values()] or [masks[0].layers[:0]]
        filled = [part for part in masks if len(part)]
        layer_inds = [part.layer_inds + sources[id(part.layers)][0] for part in filled]
        return cls(
            stacks[0] if len(stacks) == 1 else np.concatenate(stacks),
            np.concatenate([np.zeros(0, dtype=np.int64), *layer_inds]),
            np.concatenate([np.zeros(0, dtype=np.int64), *(part.label_ids for part in filled)]),
        )

    def _empty(self, shape: tuple[int, int]) -> "LabelMapMasks":
        """Make zero masks of a shape."""
        return LabelMapMasks(np.zeros((0, *map(int, shape)), dtype=np.int32), [], [])

    def _map_layers(
        self,
        transform: Callable[[NDArray[np.int32]], NDArray[np.int32]],
        out_shape: tuple[int, int],
    ) -> "LabelMapMasks":
        """Transform those layers that hold a mask; `out_shape` is what zero masks get."""
        if not len(self):
            return self._empty(out_shape)
        used, layer_inds = np.unique(self.layer_inds, return_inverse=True)
        layers = np.stack([transform(self.layers[index]) for index in used])
        return LabelMapMasks(layers, layer_inds, self.label_ids)

    def _measure(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Measure boxes (N, 4) and areas (N,) in one pass over each layer."""
        boxes = np.zeros((len(self), 4), dtype=np.int64)
        areas = np.zeros(len(self), dtype=np.int64)
        for index in np.unique(self.layer_inds):
            own = self.layer_inds == index
            boxes[own], areas[own] = measure_label_map(self.layers[index], self.label_ids[own])
        return boxes, areas

    def _require_same_shape(self, out_shape: tuple[int, int], action: str) -> None:
        if len(self) and tuple(out_shape) != (self.height, self.width):
            raise ValueError(
                f"To {action} keeps the size {self.height} x {self.width}, but out_shape is "
                f"{tuple(out_shape)}; pad or crop the masks apart."
            )


def _require_background(value: float, name: str) -> None:
    if value != 0:
        raise ValueError(
            f"{name} is {value}, but label maps can only be filled with background: pass 0."
        )
