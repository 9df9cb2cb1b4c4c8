"""What is to be done to polygons before they are written, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True, slots=True)
class Cleaning:
    """How polygons are cleaned and shaped; by default not at all.

    The order is that of the fields: first what is too small goes, then holes are filled, then
    objects are split, then outlines are drawn. Pixels are those of the labels raster.
    """

    min_pixels: int = 0
    """Polygons of fewer pixels are left out: their place is nobody's, as if it were background."""

    min_area_m2: float = 0.0
    """Likewise polygons of a smaller area on the ground."""

    fill_holes: int = 0
    """Holes of up to this many pixels are filled: connected places without a class (background,
    no data, left out) that one class surrounds and that do not reach the border of the scene."""

    split: bool = False
    """Objects of a class that have grown together are separated at their narrow necks."""

    simplify: float = 0.0
    """Corners are left out as long as that cuts off, or adds, a triangle of an area up to the
    square of this many pixels (Visvalingam and Whyatt; the unit of `shapely.coverage_simplify`).
    Shared borders stay shared."""

    smooth: float = 0.0
    """Corners are rounded, beginning at most this many pixels before them."""

    oriented_boxes: bool = False
    """Every polygon becomes the smallest rectangle around it, at any angle."""

    def __post_init__(self) -> None:
        numbers = ("min_pixels", "min_area_m2", "fill_holes", "simplify", "smooth")
        for name in numbers:
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be 0 or more, got {value}")
        if self.oriented_boxes and (self.simplify or self.smooth):
            raise ValueError("oriented_boxes are boxes: they cannot be simplified or smoothed")

    @property
    def changes_labels(self) -> bool:
        """True where polygons differ from those of the labels as they are, by more than absence."""
        return bool(self.fill_holes or self.split)

    @property
    def draws_outlines(self) -> bool:
        """True where outlines leave the edges of pixels and still share their borders."""
        return bool(self.simplify or self.smooth)


AS_THEY_ARE = Cleaning()
"""Every polygon, along the edges of its pixels."""
