"""The formats that windows are written in, and what each can hold."""

from __future__ import annotations

from geoseg.dataset import QUADS, Dataset
from geoseg.errors import ConfigError
from geoseg.tile.coco import Coco
from geoseg.tile.dota_text import DotaText
from geoseg.tile.images import LabelPngs, LabelRasters
from geoseg.tile.pair import Format
from geoseg.tile.windows import LARGEST, Tiling
from geoseg.tile.yolo import YoloBoxes, YoloSegments

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


def check_fit(format: str, tiling: Tiling, dataset: Dataset) -> None:
    """Raise ConfigError for what a format cannot say, and for scenes too large to be one window."""
    marked = tiling.difficult == "ignore" or (
        tiling.min_visible and tiling.hardly_visible == "difficult"
    )
    if format.startswith("yolo") and marked:
        raise ConfigError(
            f"--format {format}: has no word for difficult objects. keep them or drop them"
        )
    large = [s for s in dataset.scenes if s.width * s.height > LARGEST**2]
    if tiling.size is None and large:
        raise ConfigError(
            f"{dataset.path(large[0])}: {large[0].width} x {large[0].height} pixels are too many "
            "for one file. cut it by --size"
        )
