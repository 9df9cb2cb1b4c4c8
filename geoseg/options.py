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
from typing import Any, Literal, get_args

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

Bands = tuple[int | str, ...]
"""Bands of a scene in this order, by numbers from 1, by names, or by both (``red=3``) where the scene has no names."""

Split = Literal["auto", "interior", "confidence", "necks", "none"]
"""How objects of a class that touch are separated; none: connected pixels of a class are one polygon."""

PIXEL_SIZES_M = 1e-4, 1e5
"""Smallest and largest plausible pixel size in metres."""

Box = tuple[float, float, float, float]
"""West, south, east, north, in the CRS of the scene."""


@dataclass(frozen=True, slots=True)
class Shorthand:
    """Flag that stands for one value of another option."""

    flag: str
    """Name on the command line, for example ``--merged``."""

    value: str

    help: str
    """Imperative sentence, as `OptionInfo.help`."""


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

    flag_value: str | None = None
    """Value of an option that is given without one; None: it requires a value."""

    shorthand: Shorthand | None = None
    """Flag that stands for one value of the option."""

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


def group_of(options: type, name: str) -> str:
    """Return the heading of a field: what precedes the colon in the docstring of its dataclass."""
    declaring = next(kind for kind in options.__mro__ if name in kind.__annotations__)
    return (declaring.__doc__ or "").partition(":")[0]


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
        within = isfinite(value) and (low is None or value >= low)
        if low is not None and high is not None:
            if not within or value > high:
                raise ValueError(f"{declared.name} must be {low:g} to {high:g}, got {value}")
        elif low is not None and not within:
            raise ValueError(f"{declared.name} must be {low:g} or more, got {value}")


def check_pixel_sizes(sizes: tuple[float, float] | None) -> None:
    """Raise ValueError unless `sizes` are plausible: the smallest, then the largest, in metres."""
    low, high = PIXEL_SIZES_M
    if sizes is not None and not low <= sizes[0] <= sizes[1] <= high:
        raise ValueError(
            f"pixel sizes must be {low:g} to {high:g} metres, the smallest first, got {list(sizes)}"
        )


def parse_bands(text: str) -> Bands:
    """Convert comma-separated numbers or names of bands.

    >>> parse_bands("3,2,1")
    (3, 2, 1)
    >>> parse_bands("red, green, near infrared")
    ('red', 'green', 'near infrared')
    >>> parse_bands("red=3,nir=7")
    ('red=3', 'nir=7')
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[^=]+|[^=]*[^=\d\s][^=]*=\s*\d+", part) for part in parts):
        raise ValueError(f"{text!r} is not a list of bands such as 1,2,3 or red,green,blue")
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def parse_names(text: str) -> tuple[str, ...]:
    """Convert comma-separated names.

    >>> parse_names("plane, ship")
    ('plane', 'ship')
    """
    return tuple(filter(None, map(str.strip, text.split(","))))


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


def gsd_option(what: str, remark: str) -> Any:
    """Declare a field for the pixel size at which the network reads `what`, which several dataclasses have."""
    return option(
        "auto",
        f"Resample {what} to this pixel size for the network; {remark}. auto: the pixel sizes of the "
        "model card, up to 3 times outside them; none: no resampling.",
        metavar="METRES|auto|none",
        group="Input",
        parse=parse_gsd,
    )


def pixel_size_option(what: str = "a scene") -> Any:
    """Declare a field for the pixel size of scenes whose raster has none, which several dataclasses have."""
    return option(
        None,
        f"Assume this pixel size for {what} without a CRS.",
        flag="--pixel-size",
        metavar="METRES",
        default_text="unknown",
        minimum=PIXEL_SIZES_M[0],
        maximum=PIXEL_SIZES_M[1],
        group="Input",
    )


@dataclass(frozen=True, slots=True)
class RasterOptions:
    """Input: which bands of which files to read."""

    bands: Bands | None = option(
        None,
        "Read these bands of a scene, by numbers from 1 or by names, for example red,green,blue,nir. red=3 "
        "names band 3 of a scene whose bands have no names.",
        metavar="BAND,…",
        default_text="all but alpha; with a model, its bands by name",
        parse=parse_bands,
    )
    allow_vrt: bool = option(
        False,
        "Read virtual rasters (VRT) whose parts are GeoTIFF, PNG, JPEG or JPEG 2000 files in the folder "
        "of the VRT or below.",
    )


@dataclass(frozen=True, slots=True)
class SceneOptions(RasterOptions):
    """Input: which bands and which part of a scene to read, at which pixel size."""

    gsd: Gsd = gsd_option("the scene", "labels are written on the scene's own grid")
    pixel_size_m: float | None = pixel_size_option()
    bbox: Box | None = option(
        None,
        "Read only this rectangle, in the CRS of the scene.",
        metavar="W,S,E,N",
        parse=parse_box,
    )
    aoi: StrPath | None = option(
        None, "Read only the polygons of this vector file, in any CRS.", metavar="FILE"
    )
    mosaic: bool = option(False, "Read all scenes as one mosaic; they share one pixel grid.")

    def __post_init__(self) -> None:
        check_range(self)


@dataclass(frozen=True, slots=True)
class TilingOptions:
    """Performance: size of tiles, and memory.

    Examples
    --------
    >>> TilingOptions(margin="exact", memory=parse_size("4GB")).memory
    4000000000
    >>> TilingOptions(batch_size=0)
    Traceback (most recent call last):
    ...
    ValueError: batch_size must be 1 or more, got 0
    """

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
    objects: StrPath | None = option(
        None,
        "Write the ID of the object of every pixel to this Cloud Optimized GeoTIFF (uint32, 0 for none); "
        "equal to column `id`.",
        metavar="TIF",
    )
    provenance: Mapping[str, Any] | None = None
    """Metadata to store with the polygons, in addition to scene, model, version and date."""


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
    interior: StrPath | None = option(
        None,
        "Write the probability that a pixel is in the interior of one object to this Cloud Optimized "
        "GeoTIFF; 0 to 200 stands for 0 to 1. Needs a model with object outputs.",
        metavar="TIF",
    )
    uncertainty: StrPath | None = option(
        None,
        "Write the uncertainty (entropy of the classes divided by its maximum) to this Cloud Optimized "
        "GeoTIFF, and its mean to column `uncertainty`; 0 to 200 stands for 0 to 1.",
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
    pixel_size_m: float | None = pixel_size_option("labels")
    mosaic: tuple[StrPath, ...] = ()
    """Scenes on one pixel grid, over which the picture is drawn instead."""

    name: str | None = None
    """Text for column `scene`. Default: the file name of `scene`, else that of the labels."""
    allow_vrt: bool = False
    """Draw --picture over a virtual raster too, see `RasterOptions`."""

    def __post_init__(self) -> None:
        check_range(self)


@dataclass(frozen=True, slots=True)
class PolygonOptions:
    """Polygons: cleaning and outlines. The steps run in the order of the fields.

    Examples
    --------
    >>> PolygonOptions(min_pixels=20, fill_holes=50, simplify=1.5).changes_outlines
    True
    """

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
        0,
        "Fill holes of up to N pixels that a single class or object surrounds.",
        metavar="N",
        minimum=0,
    )
    split: Split = option(
        "auto",
        "Separate objects that touch. interior: countable classes, by the object outputs of a model; "
        "confidence: countable classes, where the confidence has valleys; necks: all classes, where their "
        "outline is narrow; none: not at all; auto: interior where there is one, else none. "
        "Without a value: necks.",
        metavar="auto|interior|confidence|necks|none",
        choices=("auto", "interior", "confidence", "necks", "none"),
        flag_value="necks",
        shorthand=Shorthand(
            "--merged", "none", "Write connected pixels of a class as one polygon."
        ),
    )
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
    regularize: bool = option(
        False,
        "Replace the outlines of countable classes by circles, rectangles, hulls of ships or right-angled "
        "polygons where they fit the object. Polygons do not overlap, but gaps may open between them.",
    )
    oriented_boxes: bool = option(
        False, "Write an oriented box around every object instead of its outline."
    )
    min_confidence: float = option(
        0.0,
        "Discard polygons with a lower mean confidence. Rasters are not affected.",
        metavar="SHARE",
        minimum=0,
        maximum=1,
    )
    classes: tuple[str, ...] = option(
        (),
        "Write only polygons of these classes. Rasters are not affected.",
        metavar="NAME,NAME,…",
        default_text="all classes",
        parse=parse_names,
    )

    def __post_init__(self) -> None:
        check_range(self)
        if self.split not in get_args(Split):
            raise ValueError(
                f"split must be one of {', '.join(get_args(Split))}, got {self.split!r}"
            )
        if self.oriented_boxes and self.changes_outlines:
            raise ValueError(
                "oriented_boxes cannot be combined with simplify, smooth or regularize"
            )

    @property
    def changes_labels(self) -> bool:
        """True if polygons can differ from the components of the labels by more than absence."""
        return bool(self.fill_holes or self.split == "necks")

    @property
    def changes_outlines(self) -> bool:
        """True if outlines leave the pixel edges without overlaps."""
        return bool(self.simplify or self.smooth or self.regularize)


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Output: existing products."""

    overwrite: bool = option(False, "Replace existing products.")


@dataclass(frozen=True, slots=True)
class RunOptions(WriteOptions):
    """Output: existing products and interrupted runs."""

    restart: bool = option(False, "Discard the work of an interrupted run and start again.")


@dataclass(frozen=True, slots=True)
class BatchOptions(RunOptions):
    """Performance: many input files."""

    skip_bad: bool = option(
        False,
        "Skip input files with errors instead of stopping; the exit code is 6 then.",
        group="Input",
    )
    jobs: int | None = option(
        None,
        "Process this many files at once.",
        metavar="N",
        minimum=1,
        default_text="number of cores",
    )

    def __post_init__(self) -> None:
        check_range(self)


@dataclass(frozen=True, slots=True)
class AnnotationOptions:
    """Input: format of an annotation file."""

    format: str = option(
        "vector",
        "Read annotations of this format: vector; coco (instances, also those of iSAID); labels "
        "(rasters in a folder, or one for all scenes); yolo-obb or yolo-seg (a folder of text files); "
        "or a format of an installed plugin.",
        metavar="NAME",
    )
    class_column: str = option(
        "class", "Read the class of a polygon from this column.", metavar="NAME"
    )
    layer: str | None = option(
        None, "Read this layer of the vector file.", metavar="NAME", default_text="the only layer"
    )
    colours: str | None = option(
        None,
        "Assign classes to the colours of label rasters by this table: isaid, potsdam, vaihingen, or "
        "a .toml or .json file of colour and class.",
        metavar="NAME|FILE",
    )
    annotated_area: StrPath | None = option(
        None,
        "Take only the area of the polygons of this vector file as annotated. Pixels outside count neither "
        "in training nor in scores.",
        metavar="FILE",
        default_text="the whole scenes",
    )


ALL_CLASSES = "all"
"""Stands for every class in `PrepareOptions.countable`."""


def parse_class_names(text: str) -> tuple[str, ...]:
    """Convert comma-separated class names; ``none`` is no class.

    >>> parse_class_names("roof, shed")
    ('roof', 'shed')
    >>> parse_class_names("none")
    ()
    """
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ValueError(f"{text!r} is not a list of class names such as roof,shed")
    return () if names == ["none"] else tuple(names)


@dataclass(frozen=True, slots=True)
class PrepareOptions(RasterOptions):
    """Data: splits and classes of the dataset."""

    val_share: float = option(
        0.2,
        "Assign this share of the scenes or blocks without a split to val.",
        metavar="SHARE",
        minimum=0,
    )
    split_list: StrPath | None = option(
        None,
        "Read the split of every scene from the columns scene and split of this file.",
        metavar="CSV",
    )
    block: int | None = option(
        None,
        "Cut scenes into blocks of about this side before they are divided into train and val.",
        metavar="PX",
        minimum=32,
        default_text="about 16 blocks of few scenes; 8 or more scenes, and DOTA folders, stay whole",
    )
    gap: int = option(
        0,
        "Leave this distance between blocks of train and val out of both.",
        metavar="PX",
        minimum=0,
    )
    legend: str | None = option(
        None,
        "Use these classes: dota-v1.0, dota-v1.5, dota-v2.0, a model file, shipped, or a .json list "
        "of id, name, colour.",
        metavar="NAME|FILE",
        default_text="the smallest legend of DOTA that fits; with --annotations the classes found",
    )
    classes: StrPath | None = option(
        None,
        "Rename, merge and drop classes by this file, with lines such as "
        '"large-vehicle" = "vehicle" or "helipad" = "".',
        metavar="TOML",
    )
    countable: tuple[str, ...] | None = option(
        None,
        "Count the objects of these classes: each is a polygon of its own, also where it touches others.",
        metavar="all|none|NAME,…",
        parse=parse_class_names,
        default_text="of DOTA's classes those that are countable; in fit, without --legend, all",
    )
    difficult: Literal["keep", "drop"] = option(
        "keep",
        "Keep objects marked as difficult (in COCO: crowd) with their mark, or drop them.",
        choices=("keep", "drop"),
    )
    pixel_size_m: float | None = pixel_size_option("images")

    def __post_init__(self) -> None:
        check_range(self)
        if not self.val_share < 1:
            raise ValueError(f"val_share must be less than 1, got {self.val_share}")


LARGEST_CHIP = 16_384
"""Largest side of a chip in pixels."""


def parse_chip_size(text: str) -> int | None:
    """Convert a number of pixels; 0 stands for whole scenes."""
    if not text.isdecimal():
        raise ValueError(f"{text!r} is not a number of pixels")
    return int(text) or None


def parse_empty(text: str) -> float:
    """Convert ``keep``, ``drop``, or a share from 0 to 1."""
    try:
        return 1.0 if text == "keep" else 0.0 if text == "drop" else float(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not keep, drop, or a share from 0 to 1") from error


@dataclass(frozen=True, slots=True)
class ChipOptions:
    """Chips: windows and formats.

    Examples
    --------
    >>> ChipOptions(format="coco", size=640).overlap
    128
    """

    format: str = option(
        "png",
        "Write labels as images (png, tif), COCO JSON, YOLO text of outlines (yolo-seg) or oriented "
        "boxes (yolo-obb), or DOTA text of quads.",
        choices=("png", "tif", "coco", "yolo-seg", "yolo-obb", "dota"),
    )
    size: int | None = option(
        1024,
        "Cut chips of this side; 0 for whole scenes.",
        metavar="PX",
        parse=parse_chip_size,
    )
    overlap: int | None = option(
        None,
        "Let neighbouring chips overlap by at least this distance.",
        metavar="PX",
        minimum=0,
        default_text="200, or a fifth of chips smaller than 1000",
    )
    edge: Literal["shift", "pad", "crop"] = option(
        "shift",
        "At the edge of a scene, shift the last chip inward, pad it with black, or crop it. Scenes "
        "smaller than a chip are padded, except with crop.",
        choices=("shift", "pad", "crop"),
    )
    min_visible: float = option(
        0.0,
        "Treat objects as --hardly-visible where a chip contains less than this share of their area.",
        metavar="SHARE",
        minimum=0,
        maximum=1,
    )
    hardly_visible: Literal["drop", "difficult"] = option(
        "drop",
        "Drop such objects, or mark them as difficult. In label images they are 255.",
        choices=("drop", "difficult"),
    )
    difficult: Difficult = option(
        "keep",
        "Keep objects marked as difficult, ignore them (255 in label images), or drop them. COCO and "
        "DOTA keep the mark.",
        choices=("keep", "ignore", "drop"),
    )
    empty: float = option(
        1.0,
        "Keep chips without objects, drop them, or keep this share of them.",
        metavar="keep|drop|SHARE",
        minimum=0,
        maximum=1,
        default_text="keep",
        parse=parse_empty,
    )
    image: Literal["png", "jpg", "tif"] | None = option(
        None,
        "Write images in this format; tif takes any band count and data type.",
        choices=("png", "jpg", "tif"),
        default_text="tif with --format tif, else png",
    )
    stretch: bool = option(
        False,
        "Write images as 8-bit pictures: bands red, green and blue, else the first three, or one as grey, "
        "from the 2nd to the 98th percentile of the dataset; uint8 is unchanged.",
    )
    quality: int = option(
        95,
        "Write --image jpg with this quality.",
        flag="--jpeg-quality",
        metavar="N",
        minimum=1,
        maximum=100,
    )

    def __post_init__(self) -> None:
        check_range(self)
        if self.overlap is None:
            default = 200 if self.size is None else min(200, self.size // 5)
            object.__setattr__(self, "overlap", default)
        if self.size is not None and not 1 <= self.size <= LARGEST_CHIP:
            raise ValueError(f"size must be 1 to {LARGEST_CHIP}, got {self.size}")
        if self.size is not None and not 0 <= self.minimum_overlap < self.size:
            raise ValueError(f"overlap must be less than the size {self.size}, got {self.overlap}")
        if self.edge not in ("shift", "pad", "crop"):
            raise ValueError(f"edge must be one of shift, pad, crop, got {self.edge!r}")

    @property
    def minimum_overlap(self) -> int:
        """Pixels that neighbouring chips share at least."""
        return self.overlap or 0


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """Scores: pixels and objects."""

    difficult: Difficult = option(
        "keep",
        "Score objects marked as difficult, ignore their pixels, or treat them as background.",
        choices=("keep", "ignore", "drop"),
    )
    boundary: int = option(
        5,
        "Compute boundary IoU of pixels up to this distance from a contour.",
        metavar="PX",
        minimum=1,
        maximum=255,
    )
    match: float = option(
        0.5,
        "Match predicted and annotated polygons from this IoU on.",
        metavar="IOU",
        minimum=0,
        maximum=1,
    )
    cleaning: PolygonOptions = PolygonOptions()
    """Cleaning of predicted polygons before they are matched; pixel scores are unaffected."""

    def __post_init__(self) -> None:
        check_range(self)
        if not self.match > 0:
            raise ValueError(f"match must be above 0 and up to 1, got {self.match}")


@dataclass(frozen=True, slots=True)
class EvaluateOutputs(WriteOptions):
    """Output: products of `geoseg.evaluate`."""

    json: StrPath | None = option(None, "Write the scores to this file.", metavar="JSON")
    report: StrPath | None = option(
        None,
        "Write a report for a browser: tables, curves, and the best and worst scenes.",
        metavar="HTML",
    )
    keep: StrPath | None = option(
        None,
        "Write the predicted labels, their confidence and the interior of objects to this folder, as --labels "
        "reads them.",
        metavar="FOLDER",
    )
    write: bool = option(False, "Record the scores in the model card.")
    command: str = ""
    """Command line, for the provenance of the report."""


@dataclass(frozen=True, slots=True)
class TrainOptions(WriteOptions):
    """Output: products of `geoseg.train`, and how windows are read."""

    resume: bool = option(False, "Continue an interrupted run from its checkpoint.")
    keep_checkpoint: bool = option(
        False, "Keep the checkpoint of the finished run, so that --resume can train it for longer."
    )
    tensorboard: StrPath | None = option(
        None, "Write event files for TensorBoard to this folder.", metavar="FOLDER"
    )
    stop_file: StrPath | None = option(
        None,
        "End the training after the current step once this file exists, and write the best model so far.",
        metavar="FILE",
        group="Input",
    )
    threads: int | None = option(
        None,
        "Read windows with this many threads.",
        metavar="N",
        minimum=1,
        default_text="number of cores, at most 16",
        group="Performance",
    )
    workers: int | None = option(
        None,
        "Read windows with this many processes instead; 0 for none.",
        metavar="N",
        minimum=0,
        default_text="on a GPU, without --threads, number of cores, at most 16; else 0",
        group="Performance",
    )

    def __post_init__(self) -> None:
        check_range(self)


@dataclass(frozen=True, slots=True)
class FitOptions(TrainOptions):
    """Data: dataset and time of `geoseg.fit`."""

    dataset: StrPath | None = option(
        None,
        "Write the dataset to this folder, and keep it.",
        metavar="FOLDER",
        group="Output",
        default_text="NAME.dataset next to the model, removed when the training is finished",
    )
    minutes: float | None = option(
        None,
        "Train for this many minutes, instead of the steps of the configuration.",
        metavar="M",
        minimum=0.01,
        group="Performance",
        default_text="2 to 4 minutes on two CPU cores",
    )


@dataclass(frozen=True, slots=True)
class PreviewOptions(WriteOptions):
    """Output: contact sheet of `geoseg.preview`."""

    windows: int = option(
        24, "Draw the first N windows of the training.", metavar="N", minimum=1, maximum=200
    )

    def __post_init__(self) -> None:
        check_range(self)


@dataclass(frozen=True, slots=True)
class SuggestOptions(WriteOptions):
    """Output: frames of `geoseg.suggest`."""

    frames: int = option(8, "Suggest this many frames.", metavar="N", minimum=1, maximum=1000)
    size: int | None = option(
        None,
        "Divide the scene into frames of at most this side.",
        metavar="PX",
        minimum=16,
        default_text="512 pixels of the network, less in a small scene",
    )
    annotated_area: StrPath | None = option(
        None,
        "Leave out what lies in the polygons of this vector file, which is annotated already.",
        metavar="FILE",
        group="Input",
    )
    labels: StrPath | None = option(
        None,
        "Read class IDs from this raster of `segment --labels` instead of predicting them.",
        metavar="TIF",
        group="Input",
    )
    uncertainty: StrPath | None = option(
        None,
        "Read the uncertainty from this raster of the same run.",
        metavar="TIF",
        group="Input",
    )

    def __post_init__(self) -> None:
        check_range(self)


@dataclass(frozen=True, slots=True)
class ViewOptions(WriteOptions):
    """Output: map of `geoseg.view`."""

    layers: tuple[str, ...] = option(
        (),
        "Show this layer. May be repeated.",
        flag="--layer",
        metavar="NAME",
        default_text="all layers",
        group="Input",
    )
    class_column: str | None = option(
        None,
        "Read the class from this column.",
        metavar="COLUMN",
        default_text="the column of the QGIS style, or a usual name",
        group="Input",
    )
    size: int = option(
        2048,
        "Embed an image of the scene with this longer side.",
        metavar="PX",
        minimum=256,
        maximum=4096,
    )
    max_mb: float = option(
        20.0, "Simplify outlines until the file is no larger.", metavar="MB", minimum=1
    )


@dataclass(frozen=True, slots=True)
class ExportOptions(WriteOptions):
    """Output: size of the network's input, and products of `geoseg.export`."""

    size: int | None = option(
        None,
        "Fix the input of the network to squares of this side.",
        metavar="PX",
        minimum=1,
        default_text="512, or more for a wide margin",
    )
    objects: bool = option(
        False, "Also export the object outputs, as a second output that Deepness does not accept."
    )
    stac: StrPath | None = option(
        None,
        "Write a STAC item that describes the model (extension MLM).",
        metavar="JSON",
    )


@dataclass(frozen=True, slots=True)
class StatsOptions(WriteOptions):
    """Output: statistics of `geoseg.stats`, and what they describe."""

    split: str = option("train", "Count the scenes of this split.", metavar="NAME", group="Input")
    layer: str | None = option(
        None,
        "Use this layer of annotations: outlines or quads.",
        flag="--reference",
        metavar="LAYER",
        default_text="outlines where the dataset has them",
        group="Input",
    )
    plot: StrPath | None = option(
        None,
        "Draw the class distribution on a logarithmic scale to this file.",
        metavar="PNG",
    )
    json: StrPath | None = option(
        None,
        "Write all numbers as JSON to this file; without a name, print them instead of the table.",
        metavar="[FILE]",
        flag_value="-",
    )


@dataclass(frozen=True, slots=True)
class CompareOutputs(WriteOptions):
    """Output: products of `geoseg.compare` and `geoseg.compare_models`."""

    json: StrPath | None = option(None, "Write the result to this file.", metavar="JSON")


@dataclass(frozen=True, slots=True)
class MarginOptions(RasterOptions):
    """Output: results of `geoseg.measure_margins`."""

    write: bool = option(False, "Record the result in the model card.")
    gsd: Gsd = gsd_option("the scenes", "labels are compared on the scenes' own grids")
    pixel_size_m: float | None = pixel_size_option()
    margins: tuple[int, ...] = (0, 32, 64, 96, 128, 192, 256, 384)
    """Margins to measure besides the exact one, in pixels, rounded up to the stride of the model."""

    def __post_init__(self) -> None:
        check_range(self)


@dataclass(frozen=True, slots=True)
class TuneOptions:
    """Input: scenes of `geoseg.tune`."""

    split: str = option("val", "Choose the rules on the scenes of this split.", metavar="NAME")
    held_out: float = option(
        0.0,
        "Use only the share of its scenes that a training with the same data.held_out left out.",
        metavar="SHARE",
        minimum=0,
        maximum=0.5,
        default_text="all scenes",
    )
    layer: str | None = option(
        None,
        "Use this layer of annotations: outlines or quads.",
        flag="--reference",
        metavar="LAYER",
        default_text="outlines where the dataset has them",
    )
    write: bool = option(False, "Record the rules in the model card.", group="Output")

    def __post_init__(self) -> None:
        check_range(self)


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """General: scenes and folder of `geoseg.demo`."""

    seed: int = option(0, "Draw other scenes with another seed.", metavar="N", minimum=0)
    overwrite: bool = option(False, "Replace a previous demo in FOLDER.")

    def __post_init__(self) -> None:
        check_range(self)
