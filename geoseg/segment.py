"""Scenes and a model in, polygons out: the way from pixels to a GeoPackage."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from geoseg.device import choose_device
from geoseg.engine.label import label
from geoseg.engine.predict import Predictor
from geoseg.engine.rasters import working_raster, write_cog
from geoseg.engine.tiling import Margin, tiles
from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.files import check_output, replacing
from geoseg.model.file import Model, ModelCard, load_model
from geoseg.polygons.cleaning import Cleaning
from geoseg.polygons.raster_legend import legend_tags
from geoseg.polygons.style import raster_colormap, write_raster_style
from geoseg.progress import Track, silent
from geoseg.scene import SceneInfo, open_scene
from geoseg.vectorize import vectorize

log = logging.getLogger(__name__)

_PIXEL_SIZE_TOLERANCE = 1.5


def segment(
    scenes: Path | Sequence[Path],
    output: Path,
    *,
    model: Path | None = None,
    labels: Path | None = None,
    confidence: Path | None = None,
    bands: tuple[int, ...] | None = None,
    min_pixels: int = 0,
    core: int | None = None,
    margin: Margin = "auto",
    batch_size: int = 1,
    device: str = "auto",
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    track: Track = silent,
) -> Path:
    """Find the objects of one or more scenes and write their outlines to `output`, a GeoPackage.

    Several scenes share a CRS; the column ``scene`` tells their polygons apart. `labels` and
    `confidence` name cloud optimised GeoTIFFs to write as well, on the grid of the one scene:
    class ids, and 0 to 200 meaning 0 to 1; both are 255 where the scene has no data. `model` is a
    model file (default: the one geoseg ships with), `bands` the scene's bands to use, numbered
    from 1 (default: all but alpha). Polygons of fewer than `min_pixels` pixels are left out.
    `core` and `margin` are explained in `geoseg.engine.tiling`; `batch_size` tiles go through the
    network at a time. `provenance` is recorded in the file, beside model, scene, version and
    date. The products appear when all of them are complete. Returns `output`. Raises ConfigError,
    SceneError, ModelError and OutputError, before the first tile where possible.
    """
    paths = [scenes] if isinstance(scenes, Path) else list(scenes)
    _check_arguments(paths, output, labels, confidence, batch_size=batch_size, overwrite=overwrite)
    opened = load_model(model)
    _check_scenes(paths, opened.card, bands)
    work_on = partial(
        _label,
        model=opened,
        predictor=Predictor(opened, choose_device(device)),
        bands=bands,
        core=core,
        margin=margin,
        batch_size=batch_size,
        track=track,
    )
    with ExitStack() as stack:
        # the polygons first: they are the last to take their name
        polygons = stack.enter_context(replacing(output, overwrite=overwrite))
        rasters = [
            stack.enter_context(replacing(raster, overwrite=overwrite)) if raster else None
            for raster in (labels, confidence)
        ]
        folder = stack.enter_context(TemporaryDirectory(prefix=".geoseg-", dir=output.parent))
        for number, path in enumerate(paths):
            here = Path(folder, str(number))
            ids, sureness = work_on(path, here)
            vectorize(
                ids,
                polygons,
                confidence=sureness,
                legend=opened.card.legend,
                cleaning=Cleaning(min_pixels=min_pixels),
                append="in place" if number else False,
                provenance={**_provenance(paths, opened), **(provenance or {})},
                track=track,
            )
        if rasters[0]:
            write_cog(ids, rasters[0], overviews="mode")
        if rasters[1]:
            write_cog(sureness, rasters[1], overviews="average")
    if labels:
        write_raster_style(labels, opened.card.legend)
    return output


def _label(
    path: Path,
    folder: Path,
    *,
    model: Model,
    predictor: Predictor,
    bands: tuple[int, ...] | None,
    core: int | None,
    margin: Margin,
    batch_size: int,
    track: Track,
) -> tuple[Path, Path]:
    """Labels and confidences of a scene, as working rasters in `folder` that bear its name."""
    card = model.card
    ids, sureness = folder / "labels" / path.name, folder / "confidence" / path.name
    for raster in (ids, sureness):
        raster.parent.mkdir(parents=True)
    with open_scene(path, bands=card.bands, indexes=bands, dtype=card.dtype) as scene:
        cut = tiles(scene.info.width, scene.info.height, model, core=core, margin=margin)
        tags, colormap = legend_tags(card.legend), raster_colormap(card.legend)
        with (
            working_raster(ids, scene.info, tags=tags, colormap=colormap) as labels,
            working_raster(sureness, scene.info) as confidence,
        ):
            decided = label(
                scene, cut, predictor, labels, confidence, batch_size=batch_size, track=track
            )
    if not decided:
        log.warning("%s: has no valid pixel, so nothing is found in it", path)
    return ids, sureness


def _check_arguments(
    scenes: Sequence[Path],
    output: Path,
    labels: Path | None,
    confidence: Path | None,
    *,
    batch_size: int,
    overwrite: bool,
) -> None:
    if not scenes:
        raise ConfigError("no scene is given. name at least one")
    if batch_size < 1:
        raise ConfigError(f"--batch-size: must be 1 or more, got {batch_size}")
    if output.suffix.lower() != ".gpkg":
        raise ConfigError(f"{output}: polygons go into a GeoPackage. give it a name in .gpkg")
    rasters = [raster for raster in (labels, confidence) if raster]
    if rasters and len(scenes) > 1:
        raise ConfigError(
            f"{rasters[0]}: --labels and --confidence hold one scene, got {len(scenes)}. "
            "segment them one by one"
        )
    for raster in rasters:
        if raster.suffix.lower() not in (".tif", ".tiff"):
            raise ConfigError(f"{raster}: is written as a GeoTIFF. give it a name in .tif")
    for one, other in combinations([output, *rasters], 2):
        if one.absolute() == other.absolute():
            raise ConfigError(f"{one}: is named as two outputs. give each a name of its own")
    for product in (output, *rasters):
        if any(product.exists() and scene.exists() and product.samefile(scene) for scene in scenes):
            raise OutputError(f"{product}: is the scene itself. choose another name")
        check_output(product, overwrite=overwrite)


def _check_scenes(paths: Sequence[Path], card: ModelCard, bands: tuple[int, ...] | None) -> None:
    infos: list[SceneInfo] = []
    for path in paths:
        with open_scene(path, bands=card.bands, indexes=bands, dtype=card.dtype) as scene:
            infos.append(scene.info)
        _warn_about_pixel_size(scene.info, card)
    for info in infos[1:]:
        if info.crs != infos[0].crs:
            raise SceneError(
                f"{info.path}: its coordinate reference system is not that of {infos[0].path}. "
                "segment them one by one"
            )


def _warn_about_pixel_size(info: SceneInfo, card: ModelCard) -> None:
    if info.pixel_size_m is None or card.pixel_size_m is None:
        return
    smallest, largest = card.pixel_size_m
    if not smallest / _PIXEL_SIZE_TOLERANCE <= info.pixel_size_m <= largest * _PIXEL_SIZE_TOLERANCE:
        log.warning(
            "%s: a pixel is %.3g m on the ground, the model was trained on %.3g to %.3g m. "
            "expect poor results, or resample the scene: gdalwarp -tr",
            info.path,
            info.pixel_size_m,
            smallest,
            largest,
        )


def _provenance(scenes: Sequence[Path], model: Model) -> dict[str, Any]:
    return {
        "scenes": [scene.name for scene in scenes],
        "model": model.path.name,
        "model_sha256": model.sha256,
    }
