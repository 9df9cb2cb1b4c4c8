"""Scenes and a model in, polygons and rasters out."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from geoseg.files import ScenePath, Url, discard, scene_path, write_text
from geoseg.inference.memory import memory_limit
from geoseg.inference.plan import PlanSettings, ScenePlan, plan_scene
from geoseg.inference.predictor import create_predictor, open_model
from geoseg.inference.reader import OpenScenes, open_scenes
from geoseg.inference.run import (
    CONFIDENCE,
    INTERIOR,
    LABELS,
    PROBABILITIES,
    UNCERTAINTY,
    predict_scene,
)
from geoseg.inference.value_check import warn_of_scene_values
from geoseg.legend import Legend
from geoseg.models.model_file import Model
from geoseg.options import (
    ComputeOptions,
    PolygonOptions,
    RunOptions,
    SceneOptions,
    SegmentOutputs,
    StrPath,
    TilingOptions,
    VectorizeOutputs,
    WriteOptions,
    as_path,
)
from geoseg.polygons.styles import uncertainty_style_qml, write_raster_style
from geoseg.polygons.table import find_class_ids
from geoseg.polygons.writers.ogr import LayerLayout
from geoseg.polygons.writers.registry import write_style_sidecar
from geoseg.progress import Track, silent
from geoseg.raster.cog import Resampling, write_cog
from geoseg.tools.segment_request import (
    OBJECTS,
    SETTINGS,
    SegmentRequest,
    SkippedScenes,
    check_existing,
    check_plans,
    check_request,
    describe_settings,
    model_spec,
    resolve_split,
    scene_table,
)
from geoseg.tools.vectorize import origin, vectorize
from geoseg.work_folder import Move, open_work_folder, publish_files, resume_publishing

_OVERVIEWS: dict[str, Resampling] = {
    LABELS: "mode",
    CONFIDENCE: "average",
    INTERIOR: "average",
    UNCERTAINTY: "average",
    PROBABILITIES: "average",
}

log = logging.getLogger(__name__)

_Predicted = tuple[ScenePlan, Mapping[str, Path]]
"""A scene and its rasters by kind."""


def segment(
    scenes: StrPath | Sequence[StrPath],
    output: StrPath,
    *,
    model: StrPath | None = None,
    scene: SceneOptions = SceneOptions(),
    tiling: TilingOptions = TilingOptions(),
    compute: ComputeOptions = ComputeOptions(),
    polygons: PolygonOptions = PolygonOptions(),
    outputs: SegmentOutputs = SegmentOutputs(),
    run: RunOptions = RunOptions(),
    track: Track = silent,
) -> Path:
    """Segment scenes and write the objects as polygons to `output`.

    With a model that has object outputs, every object of a countable class is a polygon of its own. With
    other models, and with ``PolygonOptions(split="none")``, polygons are connected pixels of a class.

    Parameters
    ----------
    scenes
        One or more raster files. Several share a CRS and go into one GeoPackage, in which column
        ``scene`` distinguishes them.
    output
        File to write. The suffix selects the format: ``.gpkg``, ``.parquet``, ``.fgb`` or
        ``.geojson``.
    model
        Model file (``.safetensors`` or ``.onnx``). Default: the shipped model.
    scene
        Bands, pixel size and area to read.
    tiling
        Size of tiles, margin, memory and batch size.
    compute
        Device, runtime, test-time augmentation and executor.
    polygons
        Cleaning and simplification of the polygons.
    outputs
        Further products. Rasters are written for a single scene, on its grid; they are
        255 where the scene is nodata or outside the area.
    run
        Treatment of existing products and of interrupted runs.
    track
        Progress of an iterable.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    ConfigError, SceneError, AnnotationError, ModelError, OutputError
        Before the first tile where possible.
    SkippedInputsError
        After the products are complete, if some of several scenes could not be read.

    Notes
    -----
    Products appear when all are complete. Until then ``.NAME.unfinished`` in the folder of `output`
    stores the tiles predicted so far: after an interruption the same call continues from them and
    gives the same bytes. Labels inside the area do not depend on the area.
    """
    request = SegmentRequest(
        _group_scenes(scenes, mosaic=scene.mosaic),
        Path(output),
        *(as_path(model), scene, tiling, compute, polygons, outputs, run),
    )
    check_request(request)
    remote = any(isinstance(file, Url) for file in request.files)
    with open_work_folder(request.output, restart=run.restart, remote=remote) as folder:
        if resume_publishing(folder, request.products):
            log.info("%s: published the products of an interrupted run", output)
            return request.output
        check_existing(request)
        opened = open_model(model_spec(request))
        find_class_ids(opened.card.legend, polygons.classes)
        request = resolve_split(request, opened)
        spec = model_spec(request)
        settings = PlanSettings(opened, spec, scene, tiling, memory_limit(spec.device, folder))
        skipped = SkippedScenes(keep_going=len(request.groups) > 1)
        layers = LayerLayout(
            by_class=outputs.layer_per_class, provenance=_build_provenance(request, opened)
        )
        predicted: list[_Predicted] = []
        with open_scenes(request.files) as handles:
            plans = _plan_scenes(request, settings, handles, skipped)
            check_plans(request, plans, layers, opened.card.legend, folder)
            predictor = create_predictor(spec, opened)
            for plan in plans:
                with skipped.skip():
                    rasters = predict_scene(
                        plan, handles.reader(plan.scene), predictor, folder,
                        card=opened.card, output=request.output,
                        batch_size=tiling.batch_size, executor=compute.executor, track=track,
                    )  # fmt: skip
                    predicted.append((plan, rasters))
        skipped.check_left(len(predicted))
        _publish(request, predicted, layers, opened.card.legend, folder, track)
    skipped.report(request.output)
    return request.output


def _group_scenes(
    scenes: StrPath | Sequence[StrPath], *, mosaic: bool
) -> list[tuple[ScenePath, ...]]:
    listed = [scenes] if isinstance(scenes, str | PathLike) else list(scenes)
    files = [scene_path(file) for file in listed]
    return [tuple(files)] if mosaic else [(file,) for file in files]


def _plan_scenes(
    request: SegmentRequest, settings: PlanSettings, handles: OpenScenes, skipped: SkippedScenes
) -> list[ScenePlan]:
    plans = []
    for group in request.groups:
        with skipped.skip():
            plan = plan_scene(settings, group, handles)
            warn_of_scene_values(handles.open(plan.scene), settings.model.card)
            plans.append(plan)
    return plans


def _build_provenance(request: SegmentRequest, model: Model) -> dict[str, Any]:
    return {
        **origin(),
        "scenes": [file.name for file in request.files],
        "model": model.path.name,
        "model_sha256": model.sha256,
        SETTINGS: describe_settings(request, model.card),
        **(request.outputs.provenance or {}),
    }


def _publish(
    request: SegmentRequest,
    predicted: Sequence[_Predicted],
    layers: LayerLayout,
    legend: Legend,
    folder: Path,
    track: Track,
) -> None:
    """Finish all products in `folder`, then move them to their paths; the polygons last."""
    append, overwrite, output = bool(request.outputs.append), request.run.overwrite, request.output
    moves = _finish_rasters(predicted[0][1], request.rasters, legend, folder, overwrite=overwrite)
    results = _copy_results(folder / "results", request.dota_results if append else None)
    polygons = folder / f"polygons{output.suffix.lower()}"
    discard(polygons)
    if request.appends:
        shutil.copyfile(output, polygons)
    picture, objects = folder / "picture.png", folder / "objects.tif"
    for number, (plan, rasters) in enumerate(predicted):
        vectorize(
            rasters[LABELS],
            polygons,
            confidence=rasters[CONFIDENCE],
            interior=rasters.get(INTERIOR),
            uncertainty=rasters.get(UNCERTAINTY),
            legend=legend,
            polygons=request.polygons,
            outputs=VectorizeOutputs(
                layer_per_class=layers.by_class,
                append="in place" if append or number else False,
                dota_results=results if request.dota_results else None,
                picture=picture if request.picture else None,
                objects=objects if OBJECTS in request.rasters else None,
                scene=_single_file(plan),
                mosaic=_mosaic_files(plan),
                name=plan.name,
                allow_vrt=request.scene.allow_vrt,
                provenance=layers.provenance,
            ),
            run=WriteOptions(overwrite=True),
            track=track,
        )
    if request.picture:
        moves.append(Move(picture, request.picture, overwrite))
    if OBJECTS in request.rasters:
        moves.append(Move(objects, request.rasters[OBJECTS], overwrite))
    if request.dota_results:
        moves += [
            Move(text, request.dota_results / text.name, request.replaces_output)
            for text in sorted(results.iterdir())
        ]
    publish_files(folder, [*moves, Move(polygons, output, request.replaces_output)])
    write_style_sidecar(output, scene_table(predicted[0][0], legend))


def _finish_rasters(
    working: Mapping[str, Path],
    rasters: Mapping[str, Path],
    legend: Legend,
    folder: Path,
    *,
    overwrite: bool,
) -> list[Move]:
    """Convert working rasters to Cloud Optimized GeoTIFFs in `folder`; return their moves."""
    moves = []
    for kind, path in rasters.items():
        if kind not in working:
            continue
        cog = folder / f"{kind}.tif"
        discard(cog)
        write_cog(working[kind], cog, overviews=_OVERVIEWS[kind])
        moves.append(Move(cog, path, overwrite))
        styles: tuple[str, ...] = ()
        if kind == LABELS:
            write_raster_style(cog, legend)
            styles = (".qml", ".sld")
        elif kind == UNCERTAINTY:
            write_text(cog.with_suffix(".qml"), uncertainty_style_qml(), overwrite=True)
            styles = (".qml",)
        moves += [
            Move(cog.with_suffix(suffix), path.with_suffix(suffix), overwrite=True)
            for suffix in styles
        ]
        sidecar = cog.with_name(f"{cog.name}.aux.xml")
        if sidecar.exists():
            moves.append(Move(sidecar, path.with_name(f"{path.name}.aux.xml"), overwrite=True))
    return moves


def _copy_results(folder: Path, texts: Path | None) -> Path:
    """Create an empty folder, or one with copies of the text files of another."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for text in texts.glob("*.txt") if texts else ():
        shutil.copyfile(text, folder / text.name)
    return folder


def _single_file(plan: ScenePlan) -> Path | None:
    """Return the file of a scene, unless it is remote or a mosaic."""
    (scene, *others) = plan.scene.files
    return scene if isinstance(scene, Path) and not others else None


def _mosaic_files(plan: ScenePlan) -> tuple[Path, ...]:
    """Return the files of a mosaic, unless one is remote."""
    files = tuple(file for file in plan.scene.files if isinstance(file, Path))
    return files if len(files) == len(plan.scene.files) > 1 else ()
