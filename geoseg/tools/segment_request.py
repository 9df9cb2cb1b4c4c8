"""A request to `segment`: paths, options, and the checks before any work."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError, OutputError, SceneError, SkippedInputsError
from geoseg.files import ScenePath, check_output
from geoseg.inference.plan import ScenePlan, describe_version
from geoseg.inference.predictor import ModelSpec
from geoseg.inference.run import CONFIDENCE, INTERIOR, LABELS, PROBABILITIES, UNCERTAINTY
from geoseg.legend import Legend
from geoseg.models.model_file import Model, ModelCard
from geoseg.models.runtime import choose_device
from geoseg.options import (
    ComputeOptions,
    PolygonOptions,
    RunOptions,
    SceneOptions,
    SegmentOutputs,
    StrPath,
    TilingOptions,
    as_path,
    option_fields,
)
from geoseg.polygons.table import AttributeTable
from geoseg.polygons.writers.dota import check_dota_results
from geoseg.polygons.writers.gpkg import check_appendable
from geoseg.polygons.writers.ogr import LayerLayout
from geoseg.polygons.writers.registry import check_format
from geoseg.raster.cog import check_cog_name
from geoseg.raster.georeference import format_crs, map_transform
from geoseg.report.picture import check_picture

OBJECTS = "objects"
"""Kind of the raster of object IDs, which is made of the others."""

SETTINGS = "settings"
"""Key in the provenance of a GeoPackage: what its polygons depend on, besides the model."""

RULES = "object rules"
"""Key in the settings: by which rules objects were separated."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SegmentRequest:
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
        paths = raster_paths(self.outputs)
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


def raster_paths(outputs: SegmentOutputs) -> dict[str, StrPath | None]:
    """Return the paths of rasters by kind; None: not requested."""
    return {
        LABELS: outputs.labels,
        CONFIDENCE: outputs.confidence,
        INTERIOR: outputs.interior,
        OBJECTS: outputs.objects,
        UNCERTAINTY: outputs.uncertainty,
        PROBABILITIES: outputs.probabilities,
    }


def resolve_split(request: SegmentRequest, model: Model) -> SegmentRequest:
    """Replace the split *auto* by the one that fits a model.

    Raises ConfigError if the model has no object outputs, but the request needs them, and for a raster of object IDs
    if objects are not separated.
    """
    split = request.polygons.split
    has_objects = model.card.objects is not None
    wanted = (
        "--split interior" if split == "interior" else request.outputs.interior and "--interior"
    )
    if wanted and not has_objects:
        raise ConfigError(
            f"{wanted}: {model.path.name} has no object outputs. Use --split confidence, or another model"
        )
    if split == "auto":
        split = "interior" if has_objects else "none"
    if request.outputs.objects and split not in ("interior", "confidence"):
        other = "omit --merged" if has_objects else "a model with object outputs"
        raise ConfigError(
            f"{request.outputs.objects}: objects are not separated. Use --split confidence, or {other}"
        )
    return replace(request, polygons=replace(request.polygons, split=split))


def model_spec(request: SegmentRequest) -> ModelSpec:
    """Return which model computes predictions, and how; raises ConfigError for a missing device."""
    compute = request.compute
    return ModelSpec(
        path=request.model,
        card=as_path(compute.card),
        device=choose_device(compute.device),
        backend=compute.backend,
        tta=compute.tta,
        objects=request.polygons.split == "interior" or INTERIOR in request.rasters,
        uncertainty=UNCERTAINTY in request.rasters,
        probabilities=PROBABILITIES in request.rasters,
    )


def check_request(request: SegmentRequest) -> None:
    """Check what needs neither model nor scenes."""
    outputs, output = request.outputs, request.output
    _check_groups(request.groups, request.products[1:])
    _check_formats(output, request.rasters.values(), request.picture)
    _check_styles(request.rasters)
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


def check_existing(request: SegmentRequest) -> None:
    """Raise OutputError if a product exists that must not be replaced."""
    for product in request.products:
        may_exist = request.run.overwrite or (product == request.output and request.replaces_output)
        check_output(product, overwrite=may_exist)


def check_plans(
    request: SegmentRequest,
    plans: Sequence[ScenePlan],
    layers: LayerLayout,
    legend: Legend,
    folder: Path,
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
        check_dota_results(request.dota_results, legend, overwrite=request.run.overwrite)
    if request.appends:
        for plan in plans:
            table = scene_table(plan, legend, uncertainty=UNCERTAINTY in request.rasters)
            check_appendable(request.output, table, layers)


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
        check_cog_name(raster)
        if output.suffix.lower() != ".gpkg" and raster.with_suffix("") == output.with_suffix(""):
            raise ConfigError(
                f"{raster}: its style file would have the name of that of {output}. Rename one"
            )
    if picture:
        check_picture(picture, overwrite=True)


def _check_styles(rasters: Mapping[str, Path]) -> None:
    """Raise ConfigError if the style files of two rasters would have one name."""
    styled = [rasters[kind] for kind in (LABELS, UNCERTAINTY) if kind in rasters]
    if len({path.absolute().with_suffix("") for path in styled}) < len(styled):
        raise ConfigError(
            f"{styled[1]}: its style file would have the name of that of {styled[0]}. Rename one"
        )


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
                f"{plan.info.path}: has {format_crs(plan.info.crs)}, but {plans[0].info.path} has "
                f"{format_crs(plans[0].info.crs)}. Write a file for each scene: -o FOLDER/"
            )
        if polygons.min_area_m2 and plan.info.pixel_size_m is None:
            raise SceneError(
                f"{plan.info.path}: pixel size unknown: the raster has no CRS. "
                "Pass --pixel-size METRES, assign a CRS with gdal_edit.py -a_srs, or use --min-pixels"
            )


def scene_table(plan: ScenePlan, legend: Legend, *, uncertainty: bool = False) -> AttributeTable:
    """Return the layout of the polygons of a scene."""
    transform = map_transform(plan.info.transform)
    return AttributeTable(legend, plan.info.crs, transform, plan.name, uncertainty)


def describe_settings(request: SegmentRequest, card: ModelCard) -> dict[str, Any]:
    """Return what polygons depend on besides the weights, by names that users know, as JSON data."""
    scene = request.scene
    rules = card.objects if request.polygons.split == "interior" else None
    return {
        "scene": "; ".join(map(_describe_file, request.files)),
        "--bands": None if scene.bands is None else list(scene.bands),
        "--gsd": scene.gsd,
        "--pixel-size": scene.pixel_size_m,
        "--bbox": None if scene.bbox is None else list(scene.bbox),
        "--aoi": _identify_file(as_path(scene.aoi)),
        "--card": _identify_file(as_path(request.compute.card)),
        "--margin": request.tiling.margin,
        "--tta": request.compute.tta,
        RULES: rules and rules.to_json(card.legend),
        "--layer-per-class": request.outputs.layer_per_class,
        **{
            info.flag or f"--{declared.name.replace('_', '-')}": list(value)
            if isinstance(value := getattr(request.polygons, declared.name), tuple)
            else value
            for declared, info in option_fields(PolygonOptions)
        },
    }


def _describe_file(file: ScenePath) -> str:
    """Return a text that changes when the content of a scene does."""
    if isinstance(file, Path) and not file.is_file():
        return file.name
    return f"{file.name} {describe_version(file)}"


def _identify_file(file: Path | None) -> str | None:
    """Return the name of a small file, and a digest of its content."""
    if file is None or not file.is_file():
        return None if file is None else file.name
    return f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"
