"""Scenes and a model in, polygons and rasters out: `segment` for one product, `segment_each` for a folder."""

from __future__ import annotations

import hashlib
import logging
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Any

import pyogrio
from pyogrio.errors import DataSourceError

from geoseg.errors import ConfigError, OutputError, SceneError, SkippedInputsError
from geoseg.files import ScenePath, Url, check_output, discard, read_remote_version, scene_path
from geoseg.inference.memory import memory_limit
from geoseg.inference.plan import PlanSettings, ScenePlan, plan_scene
from geoseg.inference.predictor import ModelSpec, create_predictor, open_model
from geoseg.inference.reader import OpenScenes, open_scenes
from geoseg.inference.run import CONFIDENCE, LABELS, PROBABILITIES, predict_scene
from geoseg.legend import Legend
from geoseg.models.model_file import Model
from geoseg.models.runtime import choose_device
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
    option_fields,
)
from geoseg.polygons.styles import write_raster_style
from geoseg.polygons.table import Table
from geoseg.polygons.writers.dota import check_results
from geoseg.polygons.writers.formats import check_format, write_style
from geoseg.polygons.writers.gpkg import Layers, check_appendable, provenances
from geoseg.progress import Track, silent
from geoseg.raster.cog import Resampling, write_cog
from geoseg.raster.georeference import map_transform
from geoseg.report.picture import check_picture
from geoseg.tools.vectorize import origin, vectorize
from geoseg.work_folder import Move, open_work_folder, publish_files, resume_publishing

_OVERVIEWS: dict[str, Resampling] = {
    LABELS: "mode",
    CONFIDENCE: "average",
    PROBABILITIES: "average",
}

_SETTINGS = "settings"
"""Key in the provenance of a GeoPackage: what its polygons depend on, beside the model."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Request:
    """What `segment` was asked for, with paths converted."""

    groups: Sequence[tuple[ScenePath, ...]]
    """Scenes, or the parts of a mosaic."""

    output: Path

    model: Path | None

    scene: SceneOptions

    tiling: TilingOptions

    compute: ComputeOptions

    polygons: PolygonOptions

    outputs: SegmentOutputs

    run: RunOptions

    @property
    def files(self) -> list[ScenePath]:
        """All files of all scenes."""
        return [file for group in self.groups for file in group]

    @property
    def rasters(self) -> dict[str, Path]:
        """Rasters to write, by kind."""
        paths = _raster_paths(self.outputs)
        return {kind: Path(path) for kind, path in paths.items() if path}

    @property
    def picture(self) -> Path | None:
        """Picture to draw."""
        return as_path(self.outputs.picture)

    @property
    def dota_results(self) -> Path | None:
        """Folder for DOTA result text."""
        return as_path(self.outputs.dota_results)

    @property
    def products(self) -> list[Path]:
        """Files that are published together."""
        return [self.output, *self.rasters.values(), *filter(None, [self.picture])]

    @property
    def replaces_output(self) -> bool:
        """True if an existing output is no error."""
        return self.run.overwrite or bool(self.outputs.append)

    @property
    def appends(self) -> bool:
        """True if polygons are appended to an existing GeoPackage."""
        return bool(self.outputs.append) and self.output.exists()


class SkippedScenes:
    """Scenes that could not be read and were skipped, if `keep_going`."""

    def __init__(self, *, keep_going: bool) -> None:
        self._keep_going = keep_going
        self._errors: list[SceneError] = []

    @contextmanager
    def skip(self) -> Iterator[None]:
        """Log and record a SceneError of the block, or raise it unless scenes may be skipped."""
        try:
            yield
        except SceneError as error:
            if not self._keep_going:
                raise
            log.warning("%s", error)
            self._errors.append(error)

    def check_left(self, count: int) -> None:
        """Raise the first error if no scene is left."""
        if self._errors and not count:
            raise self._errors[0]

    def report(self, output: Path) -> None:
        """Raise SkippedInputsError if scenes were skipped."""
        if self._errors:
            skipped = (
                "1 scene was" if len(self._errors) == 1 else f"{len(self._errors)} scenes were"
            )
            raise SkippedInputsError(
                f"{output}: complete, but {skipped} skipped: " + "; ".join(map(str, self._errors))
            )


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
    """Segment scenes and write polygons of the predicted labels to `output`.

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
        Products beside the polygons. Rasters are written for a single scene, on its grid; they are
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
    request = _Request(
        _group_scenes(scenes, mosaic=scene.mosaic),
        Path(output),
        *(as_path(model), scene, tiling, compute, polygons, outputs, run),
    )
    _check_request(request)
    remote = any(isinstance(file, Url) for file in request.files)
    with open_work_folder(request.output, restart=run.restart, remote=remote) as folder:
        if resume_publishing(folder, request.products):
            log.info("%s: published the products of an interrupted run", output)
            return request.output
        _check_existing(request)
        spec = _model_spec(request)
        opened = open_model(spec)
        settings = PlanSettings(opened, spec, scene, tiling, memory_limit(spec.device, folder))
        skipped = SkippedScenes(keep_going=len(request.groups) > 1)
        layers = Layers(
            by_class=outputs.layer_per_class, provenance=_build_provenance(request, opened)
        )
        predicted: list[_Predicted] = []
        with open_scenes(request.files) as handles:
            plans = _plan_scenes(request, settings, handles, skipped)
            _check_plans(request, plans, layers, opened.card.legend, folder)
            predictor = create_predictor(spec, opened)
            for plan in plans:
                with skipped.skip():
                    rasters = predict_scene(
                        plan, handles.reader(plan.scene), predictor, folder,
                        legend=opened.card.legend, output=request.output,
                        batch_size=tiling.batch_size, executor=compute.executor, track=track,
                    )  # fmt: skip
                    predicted.append((plan, rasters))
        skipped.check_left(len(predicted))
        _publish(request, predicted, layers, opened.card.legend, folder, track)
    skipped.report(request.output)
    return request.output


_Predicted = tuple[ScenePlan, Mapping[str, Path]]
"""A scene and its rasters of class IDs, confidence and probabilities."""


def _group_scenes(
    scenes: StrPath | Sequence[StrPath], *, mosaic: bool
) -> list[tuple[ScenePath, ...]]:
    listed = [scenes] if isinstance(scenes, str | PathLike) else list(scenes)
    files = [scene_path(file) for file in listed]
    return [tuple(files)] if mosaic else [(file,) for file in files]


def _raster_paths(outputs: SegmentOutputs) -> dict[str, StrPath | None]:
    return {
        LABELS: outputs.labels,
        CONFIDENCE: outputs.confidence,
        PROBABILITIES: outputs.probabilities,
    }


def _model_spec(request: _Request) -> ModelSpec:
    compute = request.compute
    return ModelSpec(
        path=request.model,
        card=as_path(compute.card),
        device=choose_device(compute.device),
        backend=compute.backend,
        tta=compute.tta,
        probabilities=PROBABILITIES in request.rasters,
    )


def _plan_scenes(
    request: _Request, settings: PlanSettings, handles: OpenScenes, skipped: SkippedScenes
) -> list[ScenePlan]:
    plans = []
    for group in request.groups:
        with skipped.skip():
            plans.append(plan_scene(settings, group, handles))
    return plans


def _build_provenance(request: _Request, model: Model) -> dict[str, Any]:
    return {
        **origin(),
        "scenes": [file.name for file in request.files],
        "model": model.path.name,
        "model_sha256": model.sha256,
        _SETTINGS: _describe_settings(request),
        **(request.outputs.provenance or {}),
    }


def _publish(
    request: _Request,
    predicted: Sequence[_Predicted],
    layers: Layers,
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
    picture = folder / "picture.png"
    for number, (plan, rasters) in enumerate(predicted):
        vectorize(
            rasters[LABELS],
            polygons,
            confidence=rasters[CONFIDENCE],
            legend=legend,
            polygons=request.polygons,
            outputs=VectorizeOutputs(
                layer_per_class=layers.by_class,
                append="in place" if append or number else False,
                dota_results=results if request.dota_results else None,
                picture=picture if request.picture else None,
                scene=_single_file(plan),
                name=plan.name,
                provenance=layers.provenance,
            ),
            run=WriteOptions(overwrite=True),
            track=track,
        )
    if request.picture:
        moves.append(Move(picture, request.picture, overwrite))
    if request.dota_results:
        moves += [
            Move(text, request.dota_results / text.name, request.replaces_output)
            for text in sorted(results.iterdir())
        ]
    publish_files(folder, [*moves, Move(polygons, output, request.replaces_output)])
    write_style(output, _table(predicted[0][0], legend))


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
        cog = folder / f"{kind}.tif"
        discard(cog)
        write_cog(working[kind], cog, overviews=_OVERVIEWS[kind])
        moves.append(Move(cog, path, overwrite))
        if kind == LABELS:
            write_raster_style(cog, legend)
            moves += [
                Move(cog.with_suffix(suffix), path.with_suffix(suffix), overwrite=True)
                for suffix in (".qml", ".sld")
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


def _check_request(request: _Request) -> None:
    """Check what needs neither model nor scenes."""
    outputs, output = request.outputs, request.output
    _check_groups(request.groups, request.products[1:])
    _check_formats(output, request.rasters.values(), request.picture)
    inputs = [
        *request.files,
        request.model,
        *map(as_path, (request.scene.aoi, request.compute.card)),
    ]
    _check_products(request.products, inputs)
    many = len(request.groups) > 1
    _check_gpkg(output, many=many, by_class=outputs.layer_per_class, append=bool(outputs.append))
    if outputs.append and request.run.overwrite:
        raise ConfigError(f"{output}: --append and --overwrite exclude each other. Choose one")


def _check_existing(request: _Request) -> None:
    for product in request.products:
        may_exist = request.run.overwrite or (product == request.output and request.replaces_output)
        check_output(product, overwrite=may_exist)


def _check_plans(
    request: _Request, plans: Sequence[ScenePlan], layers: Layers, legend: Legend, folder: Path
) -> None:
    """Check the scenes together, and against existing products and interrupted runs."""
    _check_together(plans, request.polygons, request.output)
    started = {journal.parent.name for journal in folder.glob("*/journal")}
    if started - {plan.key for plan in plans}:
        raise ConfigError(
            f"{request.output}: an interrupted run of other scenes left intermediate results. "
            "Repeat that command, or start again with --restart"
        )
    if request.dota_results and not request.outputs.append:
        check_results(request.dota_results, legend, overwrite=request.run.overwrite)
    if request.appends:
        for plan in plans:
            check_appendable(request.output, _table(plan, legend), layers)


def _check_groups(groups: Sequence[Sequence[ScenePath]], of_one: Sequence[Path]) -> None:
    if not groups or not groups[0]:
        raise ConfigError("no scene given. Name at least one")
    if len(groups) > 1 and of_one:
        raise ConfigError(
            f"{of_one[0]}: needs a single scene, got {len(groups)}. "
            "Segment them one by one, or use --mosaic"
        )
    names = [group[0].name for group in groups]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(
            f"{twice[0]}: two scenes have this name, so column scene could not distinguish their polygons. "
            "Rename one, or segment them one by one"
        )


def _check_products(products: Sequence[Path], inputs: Sequence[ScenePath | None]) -> None:
    for one, other in combinations(products, 2):
        if one.absolute() == other.absolute():
            raise ConfigError(f"{one}: named for two outputs. Give each its own name")
    files = [given for given in inputs if isinstance(given, Path)]
    for product in products:
        if any(product.exists() and file.exists() and product.samefile(file) for file in files):
            raise OutputError(f"{product}: is one of the inputs. Choose another name")
        check_output(product, overwrite=True)


def _check_formats(output: Path, rasters: Iterable[Path], picture: Path | None) -> None:
    check_format(output)
    for raster in rasters:
        if raster.suffix.lower() not in (".tif", ".tiff"):
            raise ConfigError(f"{raster}: not a name for a GeoTIFF. Use a name ending in .tif")
        if output.suffix.lower() != ".gpkg" and raster.with_suffix("") == output.with_suffix(""):
            raise ConfigError(
                f"{raster}: its style file would have the name of that of {output}. Rename one"
            )
    if picture:
        check_picture(picture, overwrite=True)


def _check_gpkg(output: Path, *, many: bool, by_class: bool, append: bool) -> None:
    if output.suffix.lower() != ".gpkg" and (many or append or by_class):
        what = "a layer for each class" if by_class else "several scenes"
        raise ConfigError(
            f"{output}: only a GeoPackage holds {what}. Use a name ending in .gpkg, "
            "or write a file for each scene: -o FOLDER/"
        )


def _check_together(plans: Sequence[ScenePlan], polygons: PolygonOptions, output: Path) -> None:
    outside = [plan for plan in plans if plan.is_outside_area]
    for plan in outside:
        if len(outside) == len(plans):
            raise ConfigError(
                f"{plan.info.path}: --bbox or --aoi does not intersect the scene. Check the area"
            )
        log.warning("%s: --bbox or --aoi does not intersect the scene", plan.info.path)
    for plan in plans:
        if output.suffix.lower() == ".geojson" and plan.info.crs is None:
            raise SceneError(
                f"{plan.info.path}: the raster has no CRS, and GeoJSON needs WGS 84. "
                "Assign one with gdal_edit.py -a_srs, or write a .gpkg"
            )
        if plan.info.crs != plans[0].info.crs:
            raise SceneError(
                f"{plan.info.path}: its CRS differs from that of "
                f"{plans[0].info.path}. Write a file for each scene: -o FOLDER/"
            )
        if polygons.min_area_m2 and plan.info.pixel_size_m is None:
            raise SceneError(
                f"{plan.info.path}: pixel size unknown: the raster has no CRS. "
                "Assign one with gdal_edit.py -a_srs, or use --min-pixels"
            )


def _table(plan: ScenePlan, legend: Legend) -> Table:
    return Table(legend, plan.info.crs, map_transform(plan.info.transform), plan.name)


def _single_file(plan: ScenePlan) -> Path | None:
    """Return the file of a scene, unless it is remote or a mosaic."""
    (scene, *others) = plan.scene.files
    return scene if isinstance(scene, Path) and not others else None


def segment_each(
    scenes: Sequence[StrPath],
    folder: StrPath,
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
    """Segment each scene into a GeoPackage of its own, ``STEM.gpkg`` in `folder`.

    Parameters are those of `segment`. Paths in `outputs` are folders, which get a file
    ``STEM.tif`` or ``STEM.png`` per scene; missing folders are created.

    A scene whose products all exist is skipped, with a message, if its GeoPackage was made from the
    same file, by the same model and with the same options; an interrupted call therefore resumes. Options
    that only affect speed (core, memory, batch size, device, backend) may differ.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    OutputError
        Before the first scene, if a product exists that was made from other inputs and
        ``run.overwrite`` is not set.
    SkippedInputsError
        After the other scenes are complete, if some could not be read.
    """
    requests = [
        _Request(
            [(file,)],
            Path(folder) / f"{_stem(file)}.gpkg",
            as_path(model),
            *(scene, tiling, compute, polygons),
            _outputs_of_scene(outputs, _stem(file)),
            run,
        )
        for file in map(scene_path, scenes)
    ]
    _check_folder(Path(folder), requests, outputs)
    current = _find_current(requests)
    skipped = SkippedScenes(keep_going=len(requests) > 1)
    complete = len(current)
    for request in requests:
        if request.output in current:
            log.info("%s: skipped: same scene, model and options as before", request.output)
            continue
        with skipped.skip():
            segment(
                request.files[0],
                request.output,
                model=model,
                scene=scene,
                tiling=tiling,
                compute=compute,
                polygons=polygons,
                outputs=request.outputs,
                run=run,
                track=track,
            )
            complete += 1
    skipped.check_left(complete)
    skipped.report(Path(folder))
    return Path(folder)


def _stem(file: ScenePath) -> str:
    return Path(file.name).stem


def _outputs_of_scene(outputs: SegmentOutputs, stem: str) -> SegmentOutputs:
    """Replace the folders in `outputs` by files for one scene."""
    rasters: dict[str, Any] = {
        kind: Path(folder) / f"{stem}.tif"
        for kind, folder in _raster_paths(outputs).items()
        if folder
    }
    picture = Path(outputs.picture) / f"{stem}.png" if outputs.picture else None
    return replace(outputs, picture=picture, **rasters)


def _check_folder(folder: Path, requests: Sequence[_Request], outputs: SegmentOutputs) -> None:
    """Check names and options of `segment_each`, and create the folders."""
    names = [request.output.name.casefold() for request in requests]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"{folder}: two scenes have one name, so their products would too. "
            "Write each group to its own folder"
        )
    if outputs.dota_results or outputs.append:
        raise ConfigError(
            f"{folder}: --append and --dota-results need one file for all scenes. "
            "Use an output ending in .gpkg"
        )
    given = [*_raster_paths(outputs).values(), outputs.picture]
    for path in (folder, *(Path(path) for path in given if path)):
        try:
            path.mkdir(exist_ok=True)
        except OSError as fault:
            raise OutputError(
                f"{path}: the folder cannot be created ({fault.strerror}). Choose another name"
            ) from fault


def _find_current(requests: Sequence[_Request]) -> set[Path]:
    """Return the outputs that need no work, or raise OutputError for one made from other inputs."""
    existing = [
        request
        for request in requests
        if not request.run.overwrite and all(product.exists() for product in request.products)
    ]
    if not existing:
        return set()
    sha256 = open_model(_model_spec(existing[0])).sha256
    for request in existing:
        if changes := _list_changes(request, sha256):
            raise OutputError(
                f"{request.output}: exists already, made from other inputs ({'; '.join(changes)}). "
                "Use --overwrite, or choose another folder"
            )
    return {request.output for request in existing}


def _list_changes(request: _Request, sha256: str) -> list[str]:
    """Compare the provenance of an existing output with a request."""
    made = _read_provenance(request.output)
    if _SETTINGS not in made:
        return ["its provenance is unknown"]
    before = {"model": made.get("model_sha256"), **made[_SETTINGS]}
    now = {"model": sha256, **_describe_settings(request)}
    return [
        f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _read_provenance(output: Path) -> dict[str, Any]:
    """Return the provenance of a GeoPackage of `segment`; empty if there is none."""
    try:
        layers = [str(name) for name, _geometry in pyogrio.list_layers(output)]
        records = [record for layer in layers for record in provenances(output, layer=layer)]
    except (DataSourceError, sqlite3.Error, ValueError):
        return {}
    return next((record for record in records if _SETTINGS in record), {})


def _describe_settings(request: _Request) -> dict[str, Any]:
    """Return what polygons depend on beside the model, by names that users know, as JSON data."""
    scene, aoi = request.scene, as_path(request.scene.aoi)
    return {
        "scene": "; ".join(map(_describe_file, request.files)),
        "--bands": None if scene.bands is None else list(scene.bands),
        "--gsd": scene.gsd,
        "--bbox": None if scene.bbox is None else list(scene.bbox),
        "--aoi": None if aoi is None else f"{aoi.name} {_file_digest(aoi)}",
        "--margin": request.tiling.margin,
        "--tta": request.compute.tta,
        "--layer-per-class": request.outputs.layer_per_class,
        **{
            info.flag or f"--{declared.name.replace('_', '-')}": getattr(
                request.polygons, declared.name
            )
            for declared, info in option_fields(PolygonOptions)
        },
    }


def _describe_file(file: ScenePath) -> str:
    """Return a text that changes when the content of a scene does."""
    if isinstance(file, Url):
        return f"{file.name} {read_remote_version(file)}"
    if not file.is_file():
        return file.name
    state = file.stat()
    modified = datetime.fromtimestamp(state.st_mtime_ns / 1e9, UTC).isoformat()
    return f"{file.name} of {modified} with {state.st_size} bytes"


def _file_digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else ""
