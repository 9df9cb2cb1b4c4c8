"""Scenes and a model in, polygons out: the way from pixels to a GeoPackage."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from geoseg.area import Box
from geoseg.device import choose_device
from geoseg.engine.faults import Faults
from geoseg.engine.job import Job
from geoseg.engine.pixel import Gsd
from geoseg.engine.plan import Plan, Planner, check_memory
from geoseg.engine.rasters import write_cog
from geoseg.engine.tiling import Margin
from geoseg.engine.work import CONFIDENCE, LABELS, PROBABILITIES, work_on
from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.files import Source, check_output, discard, replacing
from geoseg.ground import map_transform
from geoseg.legend import Legend
from geoseg.model.file import Model
from geoseg.model.runtime import Backend
from geoseg.polygons.cleaning import AS_THEY_ARE, Cleaning
from geoseg.polygons.dota_results import check_results
from geoseg.polygons.formats import check_format, write_style
from geoseg.polygons.geopackage import Layers, check_appendable
from geoseg.polygons.raster_legend import legend_tags
from geoseg.polygons.style import raster_colormap, write_raster_style
from geoseg.polygons.table import Table
from geoseg.progress import Track, silent
from geoseg.report.picture import check_picture
from geoseg.unfinished import complete, forget_finished, is_complete, unfinished
from geoseg.vectorize import origin, vectorize

_OVERVIEWS: dict[str, Literal["mode", "average"]] = {
    LABELS: "mode",
    CONFIDENCE: "average",
    PROBABILITIES: "average",
}


def segment(
    scenes: Source | Sequence[Source],
    output: Path,
    *,
    model: Path | None = None,
    labels: Path | None = None,
    confidence: Path | None = None,
    probabilities: Path | None = None,
    mosaic: bool = False,
    bands: tuple[int, ...] | None = None,
    gsd: Gsd = "auto",
    bbox: Box | None = None,
    aoi: Path | None = None,
    augmented: bool = False,
    cleaning: Cleaning = AS_THEY_ARE,
    layer_per_class: bool = False,
    append: bool = False,
    dota_results: Path | None = None,
    picture: Path | None = None,
    core: int | None = None,
    margin: Margin = "auto",
    memory: int | None = None,
    batch_size: int = 1,
    device: str = "auto",
    backend: Backend = "auto",
    card: Path | None = None,
    executor: Executor | None = None,
    restart: bool = False,
    overwrite: bool = False,
    provenance: Mapping[str, Any] | None = None,
    track: Track = silent,
) -> Path:
    """Find the objects of one or more scenes and write their outlines to `output`.

    **Scenes.** Several share a CRS, and the column ``scene`` tells their polygons apart; one that
    cannot be read is left out, and a SkippedInputsError says so when the others are done. With
    `mosaic` they are read as one, on one pixel grid; where they overlap the first named counts.
    `bands` are those of the scene to use, numbered from 1 (default: all but alpha). `gsd` is the
    pixel size at which the network sees a scene, see `geoseg.engine.pixel`. `bbox` (west, south,
    east, north in the scene's CRS) and `aoi` (polygons in a vector file of any CRS) say where
    objects are wanted; labels elsewhere are 255, and those inside as if all were wanted.

    **Products.** The suffix of `output` says the format; `cleaning`, `layer_per_class`, `append`,
    `dota_results` and `picture` are those of `geoseg.vectorize`. Several scenes go into a
    GeoPackage. Of a single one also these rasters are made, as cloud optimised GeoTIFFs on its
    grid: `labels`, class ids; `confidence`, 0 to 200 for 0 to 1, of the class that won;
    `probabilities`, the same for every class, a band each. All are 255 where the scene has no data
    or nothing is wanted. Products appear when all are complete.
    Until then ``.NAME.unfinished`` beside `output` keeps what is decided: after an interruption or a
    kill the same call goes on from there, to the same bytes; `restart` begins anew. `provenance` is
    recorded in the file, beside model, scene, version and date.

    **Computing.** `model` is a model file (default: the one geoseg ships with). `core` and `margin`
    are explained in `geoseg.engine.tiling`; cores are chosen to keep within `memory` bytes
    (default: 2 GB, or what a GPU has left). `augmented` looks at everything in 8 orientations.
    `batch_size` tiles go through the network at a time. `backend` computes the network, see
    `geoseg.model.runtime`; `model` may be an ONNX file, and `card` what it does not say of itself.
    The workers of an `executor` decide, if there is one.

    Returns `output`. Raises ConfigError, SceneError, AnnotationError, ModelError and OutputError,
    before the first tile where possible.
    """
    sources = [scenes] if isinstance(scenes, str | Path) else list(scenes)
    groups = [tuple(sources)] if mosaic else [(source,) for source in sources]
    rasters = {LABELS: labels, CONFIDENCE: confidence, PROBABILITIES: probabilities}
    kept = {kind: path for kind, path in rasters.items() if path}
    forget_finished(output)
    _check_output(output, many=len(groups) > 1, overwrite=overwrite, append=append)
    # what a run made that was killed just before its polygons took their name
    again = overwrite or is_complete(output)
    _check_products(sources, output, kept, picture, overwrite=again)
    if len(groups) > 1 and (single := [*kept.values(), *filter(None, [picture])]):
        raise ConfigError(
            f"{single[0]}: is made of one scene, got {len(groups)}. "
            "segment them one by one, or use --mosaic"
        )
    if dota_results and not append:
        check_results(dota_results, None, overwrite=again)
    if batch_size < 1:
        raise ConfigError(f"--batch-size: must be 1 or more, got {batch_size}")
    check_memory(memory)
    job = Job(
        indexes=bands,
        model=model,
        card=card,
        device=choose_device(device),
        backend=backend,
        probabilities=probabilities is not None,
        augmented=augmented,
    )
    opened = job.open_model()
    legend = opened.card.legend
    job = replace(job, bands=opened.card.bands, dtype=opened.card.dtype)
    planner = Planner(
        opened, job, core=core, margin=margin, memory=memory, batch_size=batch_size,
        gsd=gsd, bbox=bbox, aoi=aoi,
    )  # fmt: skip
    faults = Faults(keep_going=len(groups) > 1)
    plans = [plan for group in groups if (plan := faults.tried(planner.plan, group))]
    _check_together(plans, cleaning)
    layers = Layers(
        by_class=layer_per_class,
        provenance={**origin(), **_provenance(sources, opened), **(provenance or {})},
    )
    if append and output.exists():
        for plan in plans:
            check_appendable(output, _table(plan, legend), layers)
    predictor = job.predictor(opened)
    with unfinished(output, restart=restart) as folder:
        polygons = folder / f"polygons{output.suffix.lower()}"
        discard(polygons)
        if append and output.exists():
            shutil.copyfile(output, polygons)

        def worked_on(plan: Plan) -> dict[str, Path]:
            return work_on(
                plan, folder,
                legend=legend, colormap=raster_colormap(legend), tags=legend_tags(legend),
                output=output, predictor=predictor, batch_size=batch_size, executor=executor,
                track=track,
            )  # fmt: skip

        made = [(plan, found) for plan in plans if (found := faults.tried(worked_on, plan))]
        faults.check(left=len(made))
        with ExitStack() as stack:
            # the polygons first: they are the last to take their name
            scratch = stack.enter_context(replacing(output, overwrite=overwrite or append))
            for kind, path in kept.items():
                raster = stack.enter_context(replacing(path, overwrite=again))
                write_cog(made[0][1][kind], raster, overviews=_OVERVIEWS[kind])
            complete(folder)
            for number, (plan, found) in enumerate(made):
                vectorize(
                    found[LABELS],
                    polygons,
                    confidence=found[CONFIDENCE],
                    legend=legend,
                    name=plan.name,
                    cleaning=cleaning,
                    layer_per_class=layer_per_class,
                    append="in place" if append or number else False,
                    dota_results=dota_results,
                    picture=picture,
                    picture_of=_picture_of(plan),
                    overwrite=again,
                    provenance=layers.provenance,
                    track=track,
                )
            polygons.replace(scratch)
        write_style(output, _table(made[0][0], legend))
    if labels:
        write_raster_style(labels, legend)
    faults.tell(output)
    return output


def _check_output(output: Path, *, many: bool, overwrite: bool, append: bool) -> None:
    if check_format(output) != ".gpkg" and (many or append):
        raise ConfigError(
            f"{output}: only a GeoPackage holds several scenes. give it a name in .gpkg, "
            "or write a file for each scene: -o FOLDER/"
        )
    if append and overwrite:
        raise ConfigError(f"{output}: is either to be overwritten or appended to. choose one")
    check_output(output, overwrite=overwrite or append)


def _check_products(
    scenes: Sequence[Source],
    output: Path,
    rasters: Mapping[str, Path],
    picture: Path | None,
    *,
    overwrite: bool,
) -> None:
    if not scenes:
        raise ConfigError("no scene is given. name at least one")
    for raster in rasters.values():
        if raster.suffix.lower() not in (".tif", ".tiff"):
            raise ConfigError(f"{raster}: is written as a GeoTIFF. give it a name in .tif")
    products = [output, *rasters.values(), *filter(None, [picture])]
    for one, other in combinations(products, 2):
        if one.absolute() == other.absolute():
            raise ConfigError(f"{one}: is named as two outputs. give each a name of its own")
    files = [scene for scene in scenes if isinstance(scene, Path)]
    for product in products:
        if any(product.exists() and file.exists() and product.samefile(file) for file in files):
            raise OutputError(f"{product}: is the scene itself. choose another name")
    for raster in rasters.values():
        check_output(raster, overwrite=overwrite)
    if picture:
        check_picture(picture, overwrite=overwrite)


def _check_together(plans: Sequence[Plan], cleaning: Cleaning) -> None:
    for plan in plans:
        if plan.info.crs != plans[0].info.crs:
            raise SceneError(
                f"{plan.info.path}: its coordinate reference system is not that of "
                f"{plans[0].info.path}. write a file for each scene: -o FOLDER/"
            )
        if cleaning.min_area_m2 and plan.info.pixel_size_m is None:
            raise SceneError(
                f"{plan.info.path}: nobody knows how large its pixels are on the ground. "
                "use --min-pixels, or give it a coordinate reference system: gdal_edit.py -a_srs"
            )


def _table(plan: Plan, legend: Legend) -> Table:
    return Table(legend, plan.info.crs, map_transform(plan.info.transform), plan.name)


def _picture_of(plan: Plan) -> Path | None:
    """The scene, where it is one file on this machine."""
    (scene, *others) = plan.job.scenes
    return scene if isinstance(scene, Path) and not others else None


def _provenance(scenes: Sequence[Source], model: Model) -> dict[str, Any]:
    return {
        "scenes": [scene.name for scene in scenes],
        "model": model.path.name,
        "model_sha256": model.sha256,
    }
