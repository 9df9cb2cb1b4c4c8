"""Images and label images: PNG, JPEG and GeoTIFF."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
from geoseg.annotations.label_rasters import encode_label_png, legend_palette
from geoseg.annotations.yolo import fit_quad, format_yolo, write_data_yaml
from geoseg.dataset.chips import Format, Gathered, Line, Pair
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, OutputError
from geoseg.legend import IGNORE
from geoseg.options import LARGEST_CHIP, ChipOptions

_PNG_LEVEL = 2  # 5 % larger than 6 and four times as fast
_BLOCK = 256  # pixels


def write_picture(path: Path, pixels: NDArray[Any], *, quality: int) -> None:
    """Write grey or RGB (bands, h, w) as PNG or JPEG, by the suffix of `path`."""
    settings = [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
    if path.suffix == ".jpg":
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
    picture = np.ascontiguousarray(np.moveaxis(pixels[::-1], 0, 2))  # OpenCV's order is BGR
    _, encoded = cv2.imencode(path.suffix, picture, settings)
    path.write_bytes(encoded.tobytes())


def write_raster(path: Path, pair: Pair) -> None:
    """Write the image of a window as a GeoTIFF in its place, what is not valid masked."""
    with _created(path, pair, pair.pixels) as raster:
        raster.write(pair.pixels)
        if not pair.valid.all():
            raster.write_mask(pair.valid)


class _LabelImages(Format):
    ignores = True

    def is_whole(self, path: Path, entry: Line) -> bool:  # noqa: ARG002
        """False when a file is empty, whatever the window shows."""
        return path.stat().st_size > 0


class LabelPngs(_LabelImages):
    """Class ids as 8-bit PNG with a palette."""

    suffix = ".png"

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write the labels of a window."""
        path.write_bytes(encode_label_png(pair.labels(), legend_palette(self.legend)))
        return ()


class LabelRasters(_LabelImages):
    """Class ids as GeoTIFF in its place, with a colour table; 255 is nodata."""

    suffix = ".tif"

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write the labels of a window."""
        labels = pair.labels()[None]
        with _created(path, pair, labels, nodata=IGNORE) as raster:
            raster.write(labels)
            raster.write_colormap(
                1, dict(enumerate(map(tuple, legend_palette(self.legend).tolist())))
            )
        return ()


@contextmanager
def _created(path: Path, pair: Pair, pixels: NDArray[Any], **more: Any) -> Iterator[DatasetWriter]:
    """A new GeoTIFF where a window lies, for (bands, h, w) like `pixels`. Raises OutputError."""
    count, height, width = pixels.shape
    profile = {
        **{"driver": "GTiff", "count": count, "dtype": pixels.dtype},
        **{"width": width, "height": height, "transform": pair.transform, "crs": pair.crs},
        **{"compress": "deflate", "zlevel": 4, "interleave": "pixel", **more},
        **{"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK},
    }
    if count == 3:
        profile |= {"photometric": "RGB", "predictor": 2}
    try:
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(path, "w", **profile) as raster,
        ):
            yield raster
    except RasterioError as fault:
        raise OutputError(f"{path.name}: cannot be written ({fault}). is the disk full?") from fault


# COCO instances: one JSON file for all windows of a split, written piece by piece.

HOLES = "objects have holes and are pixels (RLE) in COCO"


class Coco(Format):
    """Polygons as lists of corners; those with holes, which COCO cannot say so, as run lengths."""

    def truth(self, split: str, name: str) -> str:  # noqa: ARG002
        """One file for all."""
        return f"annotations/instances_{split}.json"

    def is_whole(self, path: Path, entry: Line) -> bool:  # noqa: ARG002
        """There is no file yet: lines are looked at where they are kept."""
        return True

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:  # noqa: ARG002
        """Annotations, still without the ids of their own and of their image."""
        height, width = pair.valid.shape
        whole = pair.objects.whole
        for part, class_id, difficult in zip(
            pair.objects.part, whole.class_id, whole.difficult, strict=True
        ):
            line = encode_instance(part, int(class_id), height, width, difficult=bool(difficult))
            pair.noted[HOLES] += isinstance(line["segmentation"], dict)
            yield line

    def finish(self, folder: Path, splits: Iterable[Gathered]) -> None:
        """Write a file for each split."""
        for split in splits:
            path = folder / self.truth(split.split, "")
            path.parent.mkdir(exist_ok=True)
            images = (_image(number, entry) for number, entry in split.windows())
            lines = enumerate(split.lines(), start=1)
            annotations = ({"id": n, "image_id": image, **line} for n, (image, line) in lines)
            description = f"{split.split}, exported by geoseg chip"
            write_instances(path, description, self.legend, images, annotations)


def _image(number: int, entry: Line) -> Line:
    _, _, width, height = entry["window"]
    return {
        "id": number,
        "file_name": Path(entry["image"]).name,
        "width": width,
        "height": height,
    }


# Text for Ultralytics' YOLO: a line an object, class number from 0, coordinates as shares of the image.

PARTS = "objects are in several parts, a line each in YOLO"
YOLO_HOLES = "objects have holes, which YOLO fills"
RESHAPED = "objects are no quads within their window and became some"


class _Yolo(Format):
    def finish(self, folder: Path, splits: Iterable[Gathered]) -> None:
        """Write data.yaml."""
        write_data_yaml(folder / "data.yaml", self.legend, [split.split for split in splits])

    def _write(
        self, pair: Pair, path: Path, rings: Iterable[tuple[int, NDArray[np.float64]]]
    ) -> None:
        height, width = pair.valid.shape
        path.write_text(format_yolo(rings, height, width), encoding="ascii")


class YoloSegments(_Yolo):
    """Outlines."""

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write a line for each part of each object."""
        rings = []
        for part, class_id in zip(pair.objects.part, pair.objects.whole.class_id, strict=True):
            parts = shapely.get_parts(part).tolist()
            pair.noted[PARTS] += len(parts) > 1
            pair.noted[YOLO_HOLES] += any(polygon.interiors for polygon in parts)
            rings += [(int(class_id), np.array(p.exterior.coords[:-1])) for p in parts]
        self._write(pair, path, rings)
        return ()


class YoloBoxes(_Yolo):
    """Four corners, all within the image, as Ultralytics wants them."""

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write a line for each object."""
        height, width = pair.valid.shape
        quads = [fit_quad(part, height, width) for part in pair.objects.part]
        pair.noted[RESHAPED] += sum(
            len(shapely.get_coordinates(part)) != 5 for part in pair.objects.part
        )
        ids = pair.objects.whole.class_id.tolist()
        self._write(pair, path, zip(ids, quads, strict=True))
        return ()


# DOTA label text.

DOTA_RESHAPED = "objects are no quads and became their smallest rotated rectangles"


class DotaText(Format):
    """Quads as they were annotated, also where they reach out of the window."""

    folder = "labelTxt"

    def write(self, pair: Pair, path: Path) -> Iterable[Line]:
        """Write a line for each object."""
        whole, scene = pair.objects.whole, pair.scene
        text = format_dota(
            whole, self.legend, gsd=scene.pixel_size_m, image_source=scene.image_source
        )
        path.write_text(text, encoding="utf-8")
        pair.noted[DOTA_RESHAPED] += sum(
            len(shapely.get_coordinates(g)) != 5 for g in whole.geometry
        )
        return ()


# The formats that windows are written in, and what each can hold.

FORMATS: dict[str, type[Format]] = {
    "png": LabelPngs,
    "tif": LabelRasters,
    "coco": Coco,
    "yolo-seg": YoloSegments,
    "yolo-obb": YoloBoxes,
    "dota": DotaText,
}

_OF_QUADS = ("yolo-obb", "dota")
_IMAGES = {"png": ("uint8", "uint16"), "jpg": ("uint8",)}


def layer_for(format: str, dataset: Dataset) -> str:
    """The truth that suits a format best."""
    return QUADS if format in _OF_QUADS and QUADS in dataset.layers else dataset.default_layer


def image_for(format: str, image: str | None, dataset: Dataset) -> str:
    """The suffix of images, without a dot: `image`, or the format's own. Raises ConfigError."""
    image = image or ("tif" if format == "tif" else "png")
    if image != "tif" and (dataset.bands not in (1, 3) or dataset.dtype not in _IMAGES[image]):
        raise ConfigError(
            f"{dataset.folder}: {dataset.bands} bands of {dataset.dtype} are no {image}. "
            "use --image tif"
        )
    return image


def check_fit(format: str, tiling: ChipOptions, dataset: Dataset) -> None:
    """Raise ConfigError for what a format cannot say, and for scenes too large to be one window."""
    marked = tiling.difficult == "ignore" or (
        tiling.min_visible and tiling.hardly_visible == "difficult"
    )
    if format.startswith("yolo") and marked:
        raise ConfigError(
            f"--format {format}: has no word for difficult objects. keep them or drop them"
        )
    large = [s for s in dataset.scenes if s.width * s.height > LARGEST_CHIP**2]
    if tiling.size is None and large:
        raise ConfigError(
            f"{dataset.path(large[0])}: {large[0].width} x {large[0].height} pixels are too many "
            "for one file. cut it by --size"
        )
