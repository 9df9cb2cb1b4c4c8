"""Options of the tools, each declared once.

A frozen dataclass here is the tool's argument. The command line and the tables of the docs are generated
from its fields: `option` adds what they need to a field's default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, Literal

Difficult = Literal["keep", "ignore", "drop"]
"""Treatment of objects marked as difficult: as any other, 255 in labels, or dropped."""

Backend = Literal["auto", "torch", "onnx", "openvino"]
"""Runtime that computes the network."""

Device = Literal["auto", "cpu", "cuda", "mps"]

Margin = int | Literal["auto", "exact"]
"""Context in pixels that a tile reads around its core."""

Gsd = float | Literal["auto", "none"]
"""Pixel size in metres at which the network reads a scene."""

Box = tuple[float, float, float, float]
"""West, south, east, north, in the CRS of the scene."""


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """Help of one option, and how the command line parses it."""

    help: str
    """Imperative sentence that the command line and the docs show."""

    flag: str | None = None
    """Name on the command line, for example ``--tta``; None: that of the field."""

    metavar: str | None = None
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    default_text: str | None = None
    """Default in words, where the value does not explain itself."""


def option(default: Any, help: str, **info: Any) -> Any:
    """Declare a field of an options dataclass.

    Parameters
    ----------
    default
        Value of the field when the option is not given.
    help
        Imperative sentence for the command line and the docs.
    **info
        Other fields of `OptionInfo`.
    """
    return field(default=default, metadata={"option": OptionInfo(help, **info)})


def option_fields(options: type) -> list[tuple[Field[Any], OptionInfo]]:
    """Return the fields of an options dataclass that are options, in order."""
    return [(f, f.metadata["option"]) for f in fields(options) if "option" in f.metadata]


def as_path(path: str | PathLike[str] | None) -> Path | None:
    """Return `path` as a `Path`, or None."""
    return None if path is None else Path(path)


def check_range(options: Any) -> None:
    """Raise ValueError for a number outside the range that its field declares."""
    for declared, info in option_fields(type(options)):
        value = getattr(options, declared.name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        low, high = info.minimum, info.maximum
        if not isfinite(value) or (low is not None and value < low):
            raise ValueError(f"{declared.name} must be {low:g} or more, got {value}")
        if high is not None and value > high:
            raise ValueError(f"{declared.name} must be {high:g} or less, got {value}")


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """Input: which bands and which part of a scene to read, at which pixel size."""

    bands: tuple[int, ...] | None = option(
        None,
        "Pass these bands of the scene to the model, numbered from 1.",
        metavar="N,N,…",
        default_text="all but alpha",
    )
    gsd: Gsd = option(
        "auto",
        "Resample the scene to this pixel size for the network; labels are written on the scene's own "
        "grid. auto: the pixel sizes of the model card; none: no resampling.",
        metavar="METRES|auto|none",
    )
    bbox: Box | None = option(
        None,
        "Segment only this rectangle, in the CRS of the scene.",
        metavar="W,S,E,N",
    )
    aoi: Path | None = option(
        None, "Segment only the polygons of this vector file, in any CRS.", metavar="FILE"
    )
    mosaic: bool = option(False, "Read all scenes as one mosaic; they share one pixel grid.")


@dataclass(frozen=True, slots=True)
class TilingOptions:
    """Performance: size of tiles, and memory."""

    core: int | None = option(
        None,
        "Predict square cores of this side per tile. Smaller cores take less memory and more time.",
        metavar="PX",
        minimum=1,
        default_text="fitted to the scene and --memory",
    )
    margin: Margin = option(
        "auto",
        "Read this much context around each core. auto: the margin of the model card; exact: the whole "
        "receptive field, for the same labels as one forward pass over the whole scene.",
        metavar="PX|auto|exact",
    )
    memory: int | None = option(
        None,
        "Limit the memory of the process, for example 1500MB.",
        metavar="SIZE",
        default_text="2GB, or the free memory of the GPU",
    )
    batch_size: int = option(
        1,
        "Pass this many tiles through the network at once; more than 1 only helps on a GPU.",
        metavar="N",
        minimum=1,
    )


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """Performance: device and runtime of the network."""

    device: Device = option(
        "auto", "Run the network on this device.", choices=("auto", "cpu", "cuda", "mps")
    )
    backend: Backend = option(
        "auto",
        "Compute the network with this runtime. auto: torch, or onnx for an ONNX file.",
        choices=("auto", "torch", "onnx", "openvino"),
    )
    tta: bool = option(
        False,
        "Average predictions over 8 orientations (test-time augmentation); takes 8 times as long.",
    )


@dataclass(frozen=True, slots=True)
class RasterOutputs:
    """Output: rasters, as Cloud Optimized GeoTIFFs on the grid of the scene."""

    labels: Path | None = option(
        None, "Write class IDs to this Cloud Optimized GeoTIFF; 255 is nodata.", metavar="FILE"
    )
    confidence: Path | None = option(
        None,
        "Write the confidence (softmax of the winning class) to this Cloud Optimized GeoTIFF; "
        "0 to 200 stands for 0 to 1.",
        metavar="FILE",
    )
    probabilities: Path | None = option(
        None,
        "Write the probability of every class, a band each, to this Cloud Optimized GeoTIFF; "
        "0 to 200 stands for 0 to 1.",
        metavar="FILE",
    )


@dataclass(frozen=True, slots=True)
class VectorOutputs:
    """Output: further products made of the polygons."""

    layer_per_class: bool = option(False, "Write one layer per class instead of one for all.")
    append: bool = option(False, "Append to a GeoPackage that geoseg wrote for other scenes.")
    dota_results: Path | None = option(
        None,
        "Write oriented boxes as DOTA result text to this folder, a file per class.",
        metavar="FOLDER",
    )
    picture: Path | None = option(
        None, "Draw the polygons over the scene, with a legend, into this PNG.", metavar="PNG"
    )


@dataclass(frozen=True, slots=True)
class PolygonOptions:
    """Polygons: cleaning and outlines. The steps run in the order of the fields."""

    min_pixels: int = option(
        0,
        "Discard polygons of fewer pixels; their place becomes background.",
        metavar="N",
        minimum=0,
    )
    min_area_m2: float = option(
        0.0,
        "Discard polygons of fewer square metres.",
        flag="--min-area",
        metavar="M2",
        minimum=0,
    )
    fill_holes: int = option(
        0, "Fill holes of up to N pixels that a single class surrounds.", metavar="N", minimum=0
    )
    split: bool = option(False, "Separate merged objects of a class at narrow necks.")
    simplify: float = option(
        0.0,
        "Simplify outlines: remove corners that span a triangle of less than PX x PX pixels "
        "(Visvalingam and Whyatt); shared borders stay shared. 1 removes the steps of pixels.",
        metavar="PX",
        minimum=0,
    )
    smooth: float = option(
        0.0,
        "Round corners, starting at most PX pixels before them; shared borders stay shared.",
        metavar="PX",
        minimum=0,
    )
    oriented_boxes: bool = option(
        False, "Write the smallest rotated rectangle around every object instead of its outline."
    )

    def __post_init__(self) -> None:
        check_range(self)
        if self.oriented_boxes and (self.simplify or self.smooth):
            raise ValueError("oriented_boxes cannot be combined with simplify or smooth")

    @property
    def changes_labels(self) -> bool:
        """True if polygons can differ from the components of the labels by more than absence."""
        return bool(self.fill_holes or self.split)

    @property
    def changes_outlines(self) -> bool:
        """True if outlines leave the pixel edges and still share their borders."""
        return bool(self.simplify or self.smooth)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Output: existing products and interrupted runs."""

    restart: bool = option(False, "Discard the work of an interrupted run and start again.")
    overwrite: bool = option(False, "Replace existing products.")


def names(options: type) -> Sequence[str]:
    """Return the names of the option fields of an options dataclass."""
    return [declared.name for declared, _ in option_fields(options)]
