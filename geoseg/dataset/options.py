"""How a dataset is made, whatever it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from geoseg.progress import Track, silent

Marked = Literal["keep", "drop"]
"""What becomes of objects marked as difficult: they stay, with their mark, or are left out."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What `prepare` and `prepare_drawn` have in common. Raises ValueError for a number out of range."""

    val_share: float = 0.2
    """Share of what has no split yet that becomes the split *val*, at least 0 and less than 1."""

    split_list: Path | None = None
    """A table of scenes and their splits, for all scenes: see `geoseg.dataset.split`."""

    block: int | None = None
    """Side, in pixels, of the blocks that scenes are cut into before they are split."""

    gap: int = 0
    """Pixels between blocks of different splits that are in neither."""

    legend: str | None = None
    """``dota-v1.0``, ``dota-v1.5``, ``dota-v2.0``, ``shipped``, a model file, or a JSON file."""

    classes: Path | None = None
    """A file that renames, merges and drops classes: see `geoseg.dataset.classes`."""

    difficult: Marked = "keep"
    """Whether objects that are marked as difficult stay."""

    skip_bad: bool = False
    """Input at fault is left out instead of stopping the work."""

    jobs: int | None = None
    """Files worked on at once; None: one per core."""

    overwrite: bool = False
    """A dataset that exists is replaced; what has not changed is taken from it."""

    restart: bool = False
    """Nothing is taken from a dataset that exists, nor from an interrupted run."""

    track: Track = silent

    def __post_init__(self) -> None:
        if not 0 <= self.val_share < 1:
            raise ValueError(f"val_share must be at least 0 and less than 1, got {self.val_share}")
        if self.gap < 0:
            raise ValueError(f"gap must be at least 0, got {self.gap}")


class Common(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments."""

    val_share: float
    split_list: Path | None
    block: int | None
    gap: int
    legend: str | None
    classes: Path | None
    difficult: Marked
    skip_bad: bool
    jobs: int | None
    overwrite: bool
    restart: bool
    track: Track
