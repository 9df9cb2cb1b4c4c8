"""Options of the tools, each declared once.

A frozen dataclass here is the tool's argument. The command line and the tables of the docs are generated
from its fields: `option` adds what they need to a field's default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import Field, dataclass, field, fields
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, Literal

StrPath = str | PathLike[str]
"""Path of a file or folder."""

Difficult = Literal["keep", "ignore", "drop"]
"""Treatment of objects marked as difficult: as any other, 255 in labels, or dropped."""

Backend = Literal["auto", "torch", "onnx", "openvino"]
"""Runtime that computes the network."""

Append = bool | Literal["in place"]
"""Append to an existing file, by way of a complete copy or, for a file that is no product yet, in place."""

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

    group: str | None = None
    """Heading in the help of a command; None: that of the dataclass."""

    parse: Callable[[str], Any] | None = None
    """Function that converts the text of the command line and raises ValueError."""


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


def group_of(options: type) -> str:
    """Return the heading of an options dataclass: what precedes the colon of its docstring."""
    return (options.__doc__ or "").partition(":")[0]


def as_path(path: StrPath | None) -> Path | None:
    """Return `path` as a `Path`, or None."""
    return None if path is None else Path(path)


def check_range(options: Any) -> None:
    """Raise ValueError for a number outside the range that its field declares."""
    for declared, info in option_fields(type(options)):
        value = getattr(options, declared.name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        low, high = info.minimum, info.maximum
        if low is not None and (not isfinite(value) or value < low):
            raise ValueError(f"{declared.name} must be {low:g} or more, got {value}")
        if high is not None and (not isfinite(value) or value > high):
            raise ValueError(f"{declared.name} must be {high:g} or less, got {value}")


def parse_bands(text: str) -> tuple[int, ...]:
    """Convert comma-separated band numbers.

    >>> parse_bands("1,2,3")
    (1, 2, 3)
    """
    numbers = text.split(",")
    if not all(number.strip().isdecimal() for number in numbers):
        raise ValueError(f"{text!r} is not a list of band numbers such as 1,2,3")
    return tuple(map(int, numbers))


def parse_gsd(text: str) -> Gsd:
    """Convert ``auto``, ``none`` or a pixel size in metres."""
    try:
        return "auto" if text == "auto" else "none" if text == "none" else float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not auto, none or a number of metres") from error


def parse_box(text: str) -> Box:
    """Convert ``west,south,east,north``."""
    try:
        west, south, east, north = map(float, text.split(","))
    except ValueError as error:
        raise ValueError(f"{text!r} is not four numbers: west,south,east,north") from error
    return west, south, east, north


def parse_margin(text: str) -> Margin:
    """Convert ``auto``, ``exact`` or a number of pixels."""
    if text.isdecimal():
        return int(text)
    if text not in ("auto", "exact"):
        raise ValueError(f"{text!r} is not auto, exact or a number of pixels")
    return "auto" if text == "auto" else "exact"


def parse_size(text: str) -> int:
    """Convert a size such as 1500MB, 2GB or 1GiB to bytes.

    >>> parse_size("1500MB")
    1500000000
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", text.strip().lower())
    if not found:
        raise ValueError(f"{text!r} is not a size such as 1500MB or 2GB")
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " kmgt".index(unit or " "))


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """Input: which bands and which part of a scene to read, at which pixel size."""

    bands: tuple[int, ...] | None = option(
        None,
        "Pass these bands of the scene to the model, numbered from 1.",
        metavar="N,N,…",
        default_text="all but alpha",
        parse=parse_bands,
    )
    gsd: Gsd = option(
        "auto",
        "Resample the scene to this pixel size for the network; labels are written on the scene's own "
        "grid. auto: the pixel sizes of the model card; none: no resampling.",
        metavar="METRES|auto|none",
        parse=parse_gsd,
    )
    bbox: Box | None = option(
        None,
        "Segment only this rectangle, in the CRS of the scene.",
        metavar="W,S,E,N",
        parse=parse_box,
    )
    aoi: StrPath | None = option(
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
        parse=parse_margin,
    )
    memory: int | None = option(
        None,
        "Limit the memory of the process, for example 1500MB.",
        metavar="SIZE",
        minimum=1,
        parse=parse_size,
        default_text="2GB, or the free memory of the GPU",
    )
    batch_size: int = option(
        1,
        "Pass this many tiles through the network at once; more than 1 only helps on a GPU.",
        metavar="N",
        minimum=1,
    )

    def __post_init__(self) -> None:
        check_range(self)


@dataclass(frozen=True, slots=True)
class ComputeOptions:
    """Performance: device and runtime of the network."""

    device: str = option(
        "auto", "Run the network on this device.", choices=("auto", "cpu", "cuda", "mps")
    )
    backend: Backend = option(
        "auto",
        "Compute the network with this runtime. auto: torch, or onnx for an ONNX file.",
        choices=("auto", "torch", "onnx", "openvino"),
    )
    card: StrPath | None = option(
        None,
        "Read legend, mean and std of an ONNX model without a model card from this JSON file.",
        metavar="JSON",
        group="Input",
    )
    tta: bool = option(
        False,
        "Average predictions over 8 orientations (test-time augmentation); takes 8 times as long.",
    )
    executor: Executor | None = None
    """Predict on the workers of this executor instead of in this process."""


@dataclass(frozen=True, slots=True)
class VectorOutputs:
    """Output: layers of the GeoPackage, and products beside the polygons."""

    layer_per_class: bool = option(False, "Write one layer per class instead of one for all.")
    append: Append = option(False, "Append to a GeoPackage that geoseg wrote for other scenes.")
    dota_results: StrPath | None = option(
        None,
        "Write oriented boxes as DOTA result text to this folder, one file per class.",
        metavar="FOLDER",
    )
    picture: StrPath | None = option(
        None, "Draw the polygons over the scene, with a legend, to this PNG.", metavar="PNG"
    )


@dataclass(frozen=True, slots=True)
class SegmentOutputs(VectorOutputs):
    """Output: products of `geoseg.segment` beside the polygons."""

    labels: StrPath | None = option(
        None, "Write class IDs to this Cloud Optimized GeoTIFF; 255 is nodata.", metavar="TIF"
    )
    confidence: StrPath | None = option(
        None,
        "Write the confidence (softmax of the winning class) to this Cloud Optimized GeoTIFF; "
        "0 to 200 stands for 0 to 1.",
        metavar="TIF",
    )
    probabilities: StrPath | None = option(
        None,
        "Write the probability of every class, one band each, to this Cloud Optimized GeoTIFF; "
        "0 to 200 stands for 0 to 1.",
        metavar="TIF",
    )


@dataclass(frozen=True, slots=True)
class VectorizeOutputs(VectorOutputs):
    """Output: products of `geoseg.vectorize` beside the polygons."""

    scene: StrPath | None = option(
        None,
        "Write the name of this scene to column `scene`, and draw --picture over it.",
        metavar="FILE",
        group="Input",
    )
    name: str | None = None
    """Text for column `scene`. Default: the file name of `scene`, else that of the labels."""


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
class WriteOptions:
    """Output: existing products, and provenance."""

    overwrite: bool = option(False, "Replace existing products.")
    provenance: Mapping[str, Any] | None = None
    """Metadata for the product, in addition to scene, model, version and date."""


@dataclass(frozen=True, slots=True)
class RunOptions(WriteOptions):
    """Output: existing products, provenance, and interrupted runs."""

    restart: bool = option(False, "Discard the work of an interrupted run and start again.")
