"""The plan of one scene: checked, cut into tiles, with everything that its labels depend on."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rasterio.windows import Window

from geoseg._version import __version__
from geoseg.errors import ConfigError
from geoseg.files import ScenePath, Url, read_remote_version
from geoseg.inference.memory import DEFAULT_MEMORY, largest_window
from geoseg.inference.predictor import ModelSpec
from geoseg.inference.reader import OpenScenes, SceneSpec, choose_scale
from geoseg.inference.tiling import choose_tiles, forward_ratio, resolve_margin
from geoseg.models.model_file import Model
from geoseg.options import SceneOptions, TilingOptions, as_path
from geoseg.raster.aoi import AreaOfInterest, aoi_from_bbox, intersect_aois, read_aoi
from geoseg.raster.checks import list_parts
from geoseg.raster.scene import SceneInfo, assume_pixel_size
from geoseg.raster.tiles import Tile

_PIXEL_BYTES = 32
"""Bytes per pixel of a window outside the network: read ahead, scaled, written behind."""

_HIGH_RATIO = 2.0
"""Network pixels per scene pixel from which the overhead is logged."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """What applies to every scene of a run."""

    model: Model

    spec: ModelSpec = field(default_factory=ModelSpec)

    scene: SceneOptions = field(default_factory=SceneOptions)

    tiling: TilingOptions = field(default_factory=TilingOptions)

    memory: int = DEFAULT_MEMORY
    """Memory limit in bytes if `tiling` has none, see `memory_limit`."""


@dataclass(frozen=True, slots=True)
class ScenePlan:
    """One scene, or several as a mosaic, and the tiles that predict it."""

    name: str
    """Name of the scene in the products."""

    info: SceneInfo

    scene: SceneSpec

    spec: ModelSpec

    tiles: Sequence[Tile]
    """All tiles in network pixels; their indexes are the numbers in the journal."""

    dependencies: Mapping[str, Any]
    """Everything that the labels depend on, by names that users know, as JSON data."""

    @property
    def key(self) -> str:
        """Name of the folder of intermediate results, whatever other scenes there are."""
        names = [str(s.absolute()) if isinstance(s, Path) else s for s in self.scene.files]
        return hashlib.sha256(repr(names).encode()).hexdigest()[:16]

    @property
    def is_outside_area(self) -> bool:
        """True if the area of interest does not touch the scene."""
        whole = Window(0, 0, self.info.width, self.info.height)
        return self.scene.area is not None and not self.scene.area.intersects(whole)


def plan_scene(
    settings: PlanSettings, files: tuple[ScenePath, ...], scenes: OpenScenes
) -> ScenePlan:
    """Check a scene, or several as a mosaic, and choose its tiles.

    Raises
    ------
    SceneError
        If the scene cannot be read or does not fit the model.
    AnnotationError
        If the file of the area of interest cannot be read.
    ConfigError
        If options do not fit the scene, the model or the memory.
    """
    card = settings.model.card
    scene = SceneSpec(
        files,
        settings.scene.bands,
        names=card.band_names,
        bands=card.bands,
        dtype=card.dtype,
        allow_vrt=settings.scene.allow_vrt,
    )
    info = assume_pixel_size(scenes.open(scene).info, settings.scene.pixel_size_m)
    scale = choose_scale(info, card, settings.scene.gsd)
    scene = replace(scene, scale=scale, area=select_area(settings.scene, info))
    margin = resolve_margin(settings.tiling.margin, settings.model)
    tiles = _choose_tiles(settings, scene, scenes, margin)
    others = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return ScenePlan(
        name=files[0].name + others,
        info=info,
        scene=scene,
        spec=settings.spec,
        tiles=tiles,
        dependencies=_list_dependencies(settings, scene, tiles, margin),
    )


def select_area(options: SceneOptions, info: SceneInfo) -> AreaOfInterest | None:
    """Return the area of interest of a scene; None: the whole scene. Raises ConfigError or AnnotationError."""
    areas = []
    if options.bbox:
        areas.append(aoi_from_bbox(options.bbox, info.transform))
    if aoi := as_path(options.aoi):
        size = info.width, info.height
        areas.append(read_aoi(aoi, info.crs, info.transform, size))
    return intersect_aois(areas) if areas else None


def _choose_tiles(
    settings: PlanSettings, scene: SceneSpec, scenes: OpenScenes, margin: int
) -> list[Tile]:
    reader, core = scenes.reader(scene), settings.tiling.core
    largest = _largest_window(settings, scene.scale)
    if core is not None and settings.tiling.memory and (core + 2 * margin) ** 2 > largest:
        raise ConfigError(
            f"--memory: does not suffice for windows of --core {core} and a margin of "
            f"{margin} pixels. Leave --core out, or allow more memory"
        )
    tiles = choose_tiles(
        reader.width,
        reader.height,
        settings.model,
        core=core,
        margin=margin,
        largest_window=largest if core is None else None,
    )
    ratio = forward_ratio(tiles, reader.width, reader.height)
    if ratio > _HIGH_RATIO:
        log.info(
            "%s: every pixel passes through the network %.1f times with a margin of %d pixels. "
            "A smaller --margin or a larger --memory is faster",
            *(reader.info.path, ratio, margin),
        )
    return tiles


def _largest_window(settings: PlanSettings, scale: tuple[float, float]) -> int:
    """Return the pixels of the largest window within the memory limit."""
    card = settings.model.card
    scene_pixels = max(1.0, scale[0] * scale[1])  # per network pixel
    spec = settings.spec
    planes = 2 + spec.objects + spec.uncertainty + len(card.legend) * spec.probabilities
    pixels = largest_window(
        settings.model.network,
        bands=card.bands,
        stride=card.stride,
        limit=settings.tiling.memory or settings.memory,
        pixel_bytes=_PIXEL_BYTES + scene_pixels * (1 + 3 * planes),
        on_gpu=spec.device != "cpu",
    )
    return pixels // settings.tiling.batch_size


def _list_dependencies(
    settings: PlanSettings, scene: SceneSpec, tiles: Sequence[Tile], margin: int
) -> dict[str, Any]:
    area = hashlib.sha256(scene.area.geometry.wkb) if scene.area else None
    first, last = tiles[0].core, tiles[-1].core
    return {
        "geoseg": __version__,
        "scene": ", ".join(
            _identify_file(f) for file in scene.files for f in (file, *list_parts(file))
        ),
        "model": settings.model.sha256[:16],
        "--bands": scene.indexes,
        "--gsd": scene.scale,
        "--core or --memory": f"{len(tiles)} tiles, first of {first.width} x {first.height}, "
        f"last at {last.col_off}, {last.row_off}",
        "--margin": margin,
        "--bbox or --aoi": area and area.hexdigest()[:16],
        "--tta": settings.spec.tta,
        "object outputs": settings.spec.objects,
        "--uncertainty": settings.spec.uncertainty,
        "--probabilities": settings.spec.probabilities,
        "--batch-size": settings.tiling.batch_size,
        "--device": settings.spec.device,
        "--backend": settings.spec.backend,
    }


def _identify_file(file: ScenePath) -> str:
    """Return a text that changes when path or content of a file does."""
    path = file.partition("?")[0] if isinstance(file, Url) else file.absolute()
    return f"{path} {describe_version(file)}"


def describe_version(file: ScenePath) -> str:
    """Return a text that changes when the content of a file does: time of modification and size."""
    if isinstance(file, Url):
        return read_remote_version(file)
    state = file.stat()
    modified = datetime.fromtimestamp(state.st_mtime_ns / 1e9, UTC).isoformat()
    return f"of {modified} with {state.st_size} bytes"
