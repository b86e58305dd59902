"""Everything that a predictor is built from, as plain data that can be sent to another machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cellseg.inference.predictor import Predictor
from cellseg.inference.tile_plan import TileOptions

Member = tuple[str | None, str]


@dataclass(frozen=True)
class PredictorRecipe:
    """How to build a predictor; its fields are those of `Predictor`.

    Attributes:
        config: Name, folder, checkpoint or config.
        checkpoint: The weights of a config.
        device: "cuda", "cpu", ...; a GPU where there is one, when None.
        score_thr: Cells below this confidence are dropped.
        tiling: How large images are cut.
        tta: Whether to merge rotated and flipped copies.
        tta_scales: The sizes that they are predicted at; the model's own only when None.
        amp: Whether to compute in 16 bit.
        cfg_options: Overrides of the config.
        ensemble: Further models, as pairs of config and checkpoint.
        diameter_px: Median diameter of the cells in pixels.
        is_resampled: Whether images come at a pixel size chosen for the model.
        channel_order: Channel order of TIFFs, "rgb" or "bgr"; the config's when None.
    """

    config: str | None = None
    checkpoint: str | None = None
    device: str | None = None
    score_thr: float = 0.5
    tiling: TileOptions = field(default_factory=TileOptions)
    tta: bool = False
    tta_scales: tuple[float, ...] | None = None
    amp: bool = False
    cfg_options: dict[str, Any] | None = None
    ensemble: tuple[Member, ...] = ()
    diameter_px: float | None = None
    is_resampled: bool = False
    channel_order: str | None = None

    def build(self, device: str | None = None) -> Predictor:
        """Build the predictor.

        Args:
            device: In place of the recipe's own device, where one is given.

        Returns:
            The predictor, its weights loaded.

        Raises:
            CellsegError: If a part of it cannot be used; see `Predictor`.
        """
        predictor = Predictor(
            self.config,
            self.checkpoint,
            device=device or self.device,
            score_thr=self.score_thr,
            tiling=self.tiling,
            tta={"scales": list(self.tta_scales)} if self.tta_scales else self.tta,
            amp=self.amp,
            cfg_options=self.cfg_options,
            ensemble=self.ensemble,
            diameter_px=self.diameter_px,
            is_resampled=self.is_resampled,
        )
        if self.channel_order:
            predictor.image_format["channel_order"] = self.channel_order
        return predictor

    def describe(self, predictor: Predictor) -> dict[str, Any]:
        """Collect what decides the cells found, so that outputs of other settings are made again.

        Args:
            predictor: From `build`.

        Returns:
            Checksums of all weights, the config, and the flags.
        """
        return {
            "weights": [
                predictor.model_source.digest(),
                *(digest_file(checkpoint) for _, checkpoint in self.ensemble),
            ],
            "members": [digest_file(config) for config, _ in self.ensemble if config],
            "config": predictor.cfg.pretty_text,
            "image_format": predictor.image_format,
            "tta": [self.tta, list(self.tta_scales) if self.tta_scales else None],
            "amp": self.amp,
            **({} if self.diameter_px is None else {"diameter": self.diameter_px}),
        }


def digest_file(path: str | Path) -> str:
    """Sum up a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
