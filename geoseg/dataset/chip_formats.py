"""Formats of chips: how the annotations of each chip are written, and what a format cannot represent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter

from geoseg.annotations.burn import QUADS
from geoseg.annotations.coco import encode_instance, write_instances
from geoseg.annotations.dota import format_dota
from geoseg.annotations.label_rasters import build_palette, encode_label_png
from geoseg.annotations.yolo import fit_quad, format_yolo, write_data_yaml
from geoseg.dataset.chip_records import Entry, SplitRecords
from geoseg.dataset.chips import Chip
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, OutputError
from geoseg.legend import IGNORE, Legend
from geoseg.options import LARGEST_CHIP, ChipOptions
from geoseg.raster.bands import RGB
from geoseg.raster.stretch import Stretch, choose_stretch

COCO_HOLES = "objects with holes are written as pixels (RLE) in COCO"
YOLO_PARTS = "objects in several parts are written as several lines in YOLO"
YOLO_HOLES = "objects have holes, which are filled in YOLO"
YOLO_QUADS = "objects are not quads in their chip and were fitted by quads"
DOTA_QUADS = "objects are not quads and were replaced by their smallest rotated rectangles"

_PNG_LEVEL = 2  # 5 % larger than 6 and four times as fast
_BLOCK = 256  # pixels
_QUAD_FORMATS = ("yolo-obb", "dota")
_IMAGE_DTYPES = {"png": ("uint8", "uint16"), "jpg": ("uint8",)}


class ChipFormat:
    """Format of the annotations of chips."""

    folder = "labels"
    """Folder of the annotation files, below that of a split."""

    suffix = ".txt"

    has_ignore = False
    """True if the format represents ignored areas."""

    def __init__(self, legend: Legend) -> None:
        self.legend = legend

    def annotation_file(self, split: str, name: str) -> str:
        """Return the annotation file of a chip, relative to the output folder."""
        return f"{split}/{self.folder}/{name}{self.suffix}"

    def is_complete(self, path: Path, entry: Entry) -> bool:
        """Return False if an annotation file is empty although its manifest entry has objects.

        That happens after a power failure. Raises OSError if the file is missing.
        """
        return path.stat().st_size > 0 or not entry["objects"]

    def write(self, chip: Chip, path: Path) -> Iterable[Entry]:
        """Write the annotations of a chip to `path`, or return data that `finish` writes."""
        raise NotImplementedError

    def finish(self, folder: Path, splits: Sequence[SplitRecords]) -> None:
        """Write the files that concern all chips."""


class _LabelImages(ChipFormat):
    has_ignore = True

    def is_complete(self, path: Path, entry: Entry) -> bool:  # noqa: ARG002
        """Return False if the file is empty."""
        return path.stat().st_size > 0


class LabelPngs(_LabelImages):
    """Class IDs as 8-bit PNG with a palette."""

    suffix = ".png"

    def write(self, chip: Chip, path: Path) -> Iterable[Entry]:
        """Write the labels of a chip."""
        path.write_bytes(encode_label_png(chip.burn_labels(), build_palette(self.legend)))
        return ()


class LabelRasters(_LabelImages):
    """Class IDs as georeferenced GeoTIFF with a colour table; 255 is nodata."""

    suffix = ".tif"

    def write(self, chip: Chip, path: Path) -> Iterable[Entry]:
        """Write the labels of a chip."""
        labels = chip.burn_labels()[None]
        palette = build_palette(self.legend).tolist()
        with _create_raster(path, chip, labels, nodata=IGNORE) as raster:
            raster.write(labels)
            raster.write_colormap(1, dict(enumerate(map(tuple, palette))))
        return ()


class CocoInstances(ChipFormat):
    """COCO instances: one JSON file for all chips of a split."""

    def annotation_file(self, split: str, name: str) -> str:  # noqa: ARG002
        """Return the file of a split."""
        return f"annotations/instances_{split}.json"

    def is_complete(self, path: Path, entry: Entry) -> bool:  # noqa: ARG002
        """Return True: the file is written last, and records are checked on their own."""
        return True

    def write(self, chip: Chip, path: Path) -> Iterable[Entry]:  # noqa: ARG002
        """Return the annotations of a chip, without their IDs."""
        height, width = chip.valid.shape
        whole = chip.objects.whole
        for geometry, class_id, difficult in zip(
            chip.objects.visible, whole.class_id, whole.difficult, strict=True
        ):
            data = encode_instance(
                geometry, int(class_id), height, width, difficult=bool(difficult)
            )
            chip.notes[COCO_HOLES] += isinstance(data["segmentation"], dict)
            yield data

    def finish(self, folder: Path, splits: Sequence[SplitRecords]) -> None:
        """Write the file of each split."""
        for split in splits:
            path = folder / self.annotation_file(split.split, "")
            path.parent.mkdir(exist_ok=True)
            images = (_describe_image(n, entry) for n, entry in split.read_entries())
            annotations = (
                {"id": number, "image_id": image, **data}
                for number, (image, data) in enumerate(split.read_collected(), start=1)
            )
            description = f"{split.split}, exported by geoseg chip"
            write_instances(path, description, self.legend, images, annotations)


def _describe_image(number: int, entry: Entry) -> Entry:
    """Return the element of COCO's list ``images``."""
    _, _, width, height = entry["window"]
    name = Path(entry["image"]).name
    return {"id": number, "file_name": name, "width": width, "height": height}


class _Yolo(ChipFormat):
    def finish(self, folder: Path, splits: Sequence[SplitRecords]) -> None:
        """Write data.yaml."""
        write_data_yaml(folder / "data.yaml", self.legend, [split.split for split in splits])


class YoloOutlines(_Yolo):
    """Outlines as YOLO text, a line for each part of each object."""

    def write(self, chip: Chip, path: Path) -> Iterable[Entry]:
        """Write the objects of a chip."""
        rings = []
        class_ids = chip.objects.whole.class_id
        for geometry, class_id in zip(chip.objects.visible, class_ids, strict=True):
            parts = shapely.get_parts(geometry).tolist()
            chip.notes[YOLO_PARTS] += len(parts) > 1
            chip.notes[YOLO_HOLES] += any(polygon.interiors for polygon in parts)
            rings += [(int(class_id), np.array(p.exterior.coords[:-1])) for p in parts]
        path.write_text(format_yolo(rings, *chip.valid.shape), encoding="ascii", newline="\n")
        return ()


class YoloBoxes(_Yolo):
    """Four corners as YOLO text, all within the image, as Ultralytics requires."""

    def write(self, chip: Chip, path: Path) -> Iterable[Entry]:
        """Write the objects of a chip."""
        visible = chip.objects.visible
        quads = [fit_quad(geometry, *chip.valid.shape) for geometry in visible]
        chip.notes[YOLO_QUADS] += _count_others(visible)
        rings = zip(chip.objects.whole.class_id.tolist(), quads, strict=True)
        path.write_text(format_yolo(rings, *chip.valid.shape), encoding="ascii", newline="\n")
        return ()


class DotaText(ChipFormat):
    """DOTA text of quads as annotated, also beyond the edge of the chip."""

    folder = "labelTxt"

    def write(self, chip: Chip, path: Path) -> Iterable[Entry]:
        """Write the objects of a chip."""
        whole, scene = chip.objects.whole, chip.scene
        text = format_dota(
            whole, self.legend, gsd=scene.pixel_size_m, image_source=scene.image_source
        )
        path.write_text(text, encoding="utf-8", newline="\n")
        chip.notes[DOTA_QUADS] += _count_others(whole.geometry)
        return ()


def _count_others(geometry: NDArray[np.object_]) -> int:
    """Count the geometries that are not quads."""
    return sum(len(shapely.get_coordinates(g)) != 5 for g in geometry)


FORMATS: dict[str, type[ChipFormat]] = {
    "png": LabelPngs,
    "tif": LabelRasters,
    "coco": CocoInstances,
    "yolo-seg": YoloOutlines,
    "yolo-obb": YoloBoxes,
    "dota": DotaText,
}


def choose_layer(format: str, dataset: Dataset) -> str:
    """Return the annotation layer that suits a format best."""
    has_quads = format in _QUAD_FORMATS and QUADS in dataset.layers
    return QUADS if has_quads else dataset.default_layer


def choose_image_format(options: ChipOptions, dataset: Dataset) -> str:
    """Return ``png``, ``jpg`` or ``tif``. Raises ConfigError if it cannot hold the dataset's bands."""
    image = options.image or ("tif" if options.format == "tif" else "png")
    fits = dataset.bands in (1, 3) and dataset.dtype in _IMAGE_DTYPES.get(image, ())
    if image != "tif" and not options.stretch and not fits:
        count = f"{dataset.bands} {'band' if dataset.bands == 1 else 'bands'}"
        raise ConfigError(
            f"{dataset.folder}: {count} of {dataset.dtype} do not fit into {image}. "
            "Use --image tif, or --stretch for 8-bit pictures"
        )
    return image


def choose_chip_stretch(options: ChipOptions, dataset: Dataset) -> Stretch | None:
    """Return the stretch of the images; None if the pixels are kept.

    Raises ConfigError if it needs the statistics that datasets of earlier versions do not have.
    """
    if not options.stretch:
        return None
    if dataset.dtype != "uint8" and not dataset.statistics:
        raise ConfigError(
            f"{dataset.folder}: has no statistics of its bands. Run geoseg prepare again"
        )
    return choose_stretch(dataset.band_names, dataset.dtype, dataset.statistics)


def check_options(options: ChipOptions, dataset: Dataset) -> None:
    """Raise ConfigError for marks that a format cannot represent, and for scenes too large for one chip."""
    marked = options.difficult == "ignore" or (
        options.min_visible and options.hardly_visible == "difficult"
    )
    if options.format.startswith("yolo") and marked:
        raise ConfigError(
            f"--format {options.format}: cannot mark difficult objects. Keep them or drop them"
        )
    large = [s for s in dataset.scenes if s.width * s.height > LARGEST_CHIP**2]
    if options.size is None and large:
        raise ConfigError(
            f"{dataset.path(large[0])}: {large[0].width} x {large[0].height} pixels are too many for "
            "one chip. Cut the scene by --size"
        )


def write_image(path: Path, chip: Chip, *, quality: int) -> None:
    """Write the image of a chip as PNG, JPEG or GeoTIFF, by the suffix of `path`.

    Parameters
    ----------
    path
        File to write.
    chip
        Grey or RGB image for PNG and JPEG; any bands for GeoTIFF, which is georeferenced and masked where not valid.
    quality
        Quality of JPEG, 1 to 100.
    """
    if path.suffix == ".tif":
        with _create_raster(path, chip, chip.pixels) as raster:
            if len(chip.pixels) != len(RGB) and any(chip.band_names):
                raster.descriptions = [name or None for name in chip.band_names]
            raster.write(chip.pixels)
            if not chip.valid.all():
                raster.write_mask(chip.valid)
        return
    options = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
    if path.suffix == ".jpg":
        options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    bgr = np.ascontiguousarray(np.moveaxis(chip.pixels[::-1], 0, 2))
    _, encoded = cv2.imencode(path.suffix, bgr, options)
    path.write_bytes(encoded.tobytes())


@contextmanager
def _create_raster(
    path: Path, chip: Chip, pixels: NDArray[Any], **profile: Any
) -> Iterator[DatasetWriter]:
    """Create a GeoTIFF at the place of a chip for (bands, h, w) pixels. Raises OutputError."""
    count, height, width = pixels.shape
    profile |= {
        **{"driver": "GTiff", "count": count, "dtype": pixels.dtype},
        **{"width": width, "height": height, "transform": chip.transform, "crs": chip.crs},
        **{"compress": "deflate", "zlevel": 4, "interleave": "pixel"},
        **{"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK},
    }
    if count > 1:
        colours = "RGB" if count == len(RGB) else "MINISBLACK"
        predictor = 3 if pixels.dtype.kind == "f" else 2
        profile |= {"photometric": colours, "predictor": predictor, "ALPHA": "NO"}
    try:
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", **profile) as raster,
        ):
            yield raster
    except RasterioError as error:
        raise OutputError(
            f"{path.name}: cannot be written ({error}). Check that the disk is not full"
        ) from error
