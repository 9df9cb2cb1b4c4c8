"""Scenes that could not be read, when there are others to go on with."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from os import PathLike
from pathlib import Path
from typing import Any

from geoseg.errors import ConfigError, OutputError, SceneError, SkippedInputsError
from geoseg.files import ScenePath, Url, check_output, discard, scene_path
from geoseg.inference.memory import memory_limit
from geoseg.inference.plan import PlanSettings, ScenePlan, plan_scene
from geoseg.inference.predictor import ModelSpec, create_predictor, open_model
from geoseg.inference.reader import open_scenes
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
)
from geoseg.polygons.styles import write_raster_style
from geoseg.polygons.table import Table
from geoseg.polygons.writers.dota import check_results
from geoseg.polygons.writers.formats import check_format, write_style
from geoseg.polygons.writers.gpkg import Layers, check_appendable
from geoseg.progress import Track, silent
from geoseg.raster.cog import Resampling, write_cog
from geoseg.raster.georeference import map_transform
from geoseg.report.picture import check_picture
from geoseg.tools.vectorize import origin, vectorize
from geoseg.work_folder import Move, open_work_folder, publish_files, resume_publishing

log = logging.getLogger(__name__)


class Faults:
    """Scenes that cannot be read; with `keep_going` they are skipped."""

    def __init__(self, *, keep_going: bool) -> None:
        self._keep_going = keep_going
        self._found: list[SceneError] = []

    @contextmanager
    def skip_scene(self) -> Iterator[None]:
        """Log and record a SceneError of the block, or raise it unless scenes may be skipped."""
        try:
            yield
        except SceneError as error:
            if not self._keep_going:
                raise
            log.warning("%s", error)
            self._found.append(error)

    def check(self, *, left: int) -> None:
        """Raise the first fault when no scene is left."""
        if self._found and not left:
            raise self._found[0]

    def tell(self, output: Path) -> None:
        """Raise a SkippedInputsError if there was any."""
        if self._found:
            raise SkippedInputsError(
                f"{output}: complete but for {len(self._found)} "
                f"{'scene' if len(self._found) == 1 else 'scenes'} left out: "
                + "; ".join(map(str, self._found))
            )


# Scenes and a model in, polygons out: the way from pixels to a GeoPackage.


_OVERVIEWS: dict[str, Resampling] = {
    LABELS: "mode",
    CONFIDENCE: "average",
    PROBABILITIES: "average",
}


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
    sources = [scene_path(scene) for scene in _listed(scenes)]
    groups = [tuple(sources)] if scene.mosaic else [(one,) for one in sources]
    rasters = {kind: Path(path) for kind, path in _rasters(outputs).items() if path}
    output = Path(output)
    picture, dota_results = as_path(outputs.picture), as_path(outputs.dota_results)
    append, overwrite = outputs.append, run.overwrite
    products = [output, *rasters.values(), *filter(None, [picture])]
    _check_groups(groups, products[1:])
    _check_formats(output, rasters.values(), picture)
    _check_products(products, [*sources, *map(as_path, (model, scene.aoi, compute.card))])
    _check_gpkg(output, many=len(groups) > 1, by_class=outputs.layer_per_class, append=bool(append))
    if append and overwrite:
        raise ConfigError(f"{output}: is either to be overwritten or appended to. choose one")
    remote = any(isinstance(one, Url) for one in sources)
    with open_work_folder(output, restart=run.restart, remote=remote) as folder:
        if resume_publishing(folder, products):
            log.info("%s: an earlier run had made it, but for its name", output)
            return output
        for product in products:
            check_output(product, overwrite=overwrite or (bool(append) and product == output))
        spec = ModelSpec(
            path=as_path(model),
            card=as_path(compute.card),
            device=choose_device(compute.device),
            backend=compute.backend,
            tta=compute.tta,
            probabilities=PROBABILITIES in rasters,
        )
        opened = open_model(spec)
        legend = opened.card.legend
        if dota_results and not append:
            check_results(dota_results, legend, overwrite=overwrite)
        settings = PlanSettings(
            opened, spec, scene, tiling, memory=memory_limit(spec.device, folder)
        )
        faults = Faults(keep_going=len(groups) > 1)
        plans: list[ScenePlan] = []
        made: list[tuple[ScenePlan, dict[str, Path]]] = []
        with open_scenes(sources) as handles:
            for group in groups:
                with faults.skip_scene():
                    plans.append(plan_scene(settings, group, handles))
            _check_together(plans, polygons, output)
            _check_no_other_work(folder, plans, output)
            layers = Layers(
                by_class=outputs.layer_per_class,
                provenance={
                    **origin(),
                    **_provenance(sources, opened),
                    **(outputs.provenance or {}),
                },
            )
            if append and output.exists():
                for plan in plans:
                    check_appendable(output, _table(plan, legend), layers)
            predictor = create_predictor(spec, opened)
            for plan in plans:
                with faults.skip_scene():
                    found = predict_scene(
                        plan, handles.reader(plan.scene), predictor, folder,
                        legend=legend, output=output, batch_size=tiling.batch_size,
                        executor=compute.executor, track=track,
                    )  # fmt: skip
                    made.append((plan, found))
        faults.check(left=len(made))
        moves = _made_rasters(made[0][1], rasters, legend, folder, overwrite=overwrite)
        results = _fresh_folder(folder / "results", dota_results if append else None)
        vectors = folder / f"polygons{output.suffix.lower()}"
        discard(vectors)
        if append and output.exists():
            shutil.copyfile(output, vectors)
        drawn = folder / "picture.png"
        for number, (plan, found) in enumerate(made):
            vectorize(
                found[LABELS],
                vectors,
                confidence=found[CONFIDENCE],
                legend=legend,
                polygons=polygons,
                outputs=VectorizeOutputs(
                    layer_per_class=outputs.layer_per_class,
                    append="in place" if append or number else False,
                    dota_results=results if dota_results else None,
                    picture=drawn if picture else None,
                    scene=_picture_of(plan),
                    name=plan.name,
                    provenance=layers.provenance,
                ),
                run=WriteOptions(overwrite=True),
                track=track,
            )
        if picture:
            moves.append(Move(drawn, picture, overwrite))
        if dota_results:
            moves += [
                Move(text, dota_results / text.name, overwrite or bool(append))
                for text in sorted(results.iterdir())
            ]
        # the polygons are the last to take their name
        publish_files(folder, [*moves, Move(vectors, output, overwrite or bool(append))])
        write_style(output, _table(made[0][0], legend))
    faults.tell(output)
    return output


def _listed(scenes: StrPath | Sequence[StrPath]) -> list[StrPath]:
    return [scenes] if isinstance(scenes, str | PathLike) else list(scenes)


def _rasters(outputs: SegmentOutputs) -> dict[str, StrPath | None]:
    return {
        LABELS: outputs.labels,
        CONFIDENCE: outputs.confidence,
        PROBABILITIES: outputs.probabilities,
    }


def _made_rasters(
    working: Mapping[str, Path],
    rasters: Mapping[str, Path],
    legend: Legend,
    folder: Path,
    *,
    overwrite: bool,
) -> list[Move]:
    """The rasters to keep, finished in the folder."""
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
        beside = cog.with_name(f"{cog.name}.aux.xml")
        if beside.exists():
            moves.append(Move(beside, path.with_name(f"{path.name}.aux.xml"), overwrite=True))
    return moves


def _fresh_folder(folder: Path, texts: Path | None) -> Path:
    """An empty folder, or one with copies of the texts in another."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for text in texts.glob("*.txt") if texts else ():
        shutil.copyfile(text, folder / text.name)
    return folder


def _check_groups(groups: Sequence[Sequence[ScenePath]], of_one: Sequence[Path]) -> None:
    if not groups or not groups[0]:
        raise ConfigError("no scene is given. name at least one")
    if len(groups) > 1 and of_one:
        raise ConfigError(
            f"{of_one[0]}: is made of one scene, got {len(groups)}. "
            "segment them one by one, or use --mosaic"
        )
    names = [group[0].name for group in groups]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(
            f"{twice[0]}: two scenes have this name, so nobody could tell their polygons apart. "
            "rename one, or segment them one by one"
        )


def _check_products(products: Sequence[Path], inputs: Sequence[ScenePath | None]) -> None:
    for one, other in combinations(products, 2):
        if one.absolute() == other.absolute():
            raise ConfigError(f"{one}: is named as two outputs. give each a name of its own")
    files = [given for given in inputs if isinstance(given, Path)]
    for product in products:
        if any(product.exists() and file.exists() and product.samefile(file) for file in files):
            raise OutputError(f"{product}: is one of the inputs. choose another name")
        check_output(product, overwrite=True)


def _check_formats(output: Path, rasters: Iterable[Path], picture: Path | None) -> None:
    check_format(output)
    for raster in rasters:
        if raster.suffix.lower() not in (".tif", ".tiff"):
            raise ConfigError(f"{raster}: is written as a GeoTIFF. give it a name in .tif")
        if output.suffix.lower() != ".gpkg" and raster.with_suffix("") == output.with_suffix(""):
            raise ConfigError(
                f"{raster}: its style would have the name of that of {output}. "
                "give one another name"
            )
    if picture:
        check_picture(picture, overwrite=True)


def _check_gpkg(output: Path, *, many: bool, by_class: bool, append: bool) -> None:
    if output.suffix.lower() != ".gpkg" and (many or append or by_class):
        what = "a layer for each class" if by_class else "several scenes"
        raise ConfigError(
            f"{output}: only a GeoPackage holds {what}. give it a name in .gpkg, "
            "or write a file for each scene: -o FOLDER/"
        )


def _check_together(plans: Sequence[ScenePlan], cleaning: PolygonOptions, output: Path) -> None:
    outside = [plan for plan in plans if plan.is_outside_area]
    for plan in outside:
        if len(outside) == len(plans):
            raise ConfigError(
                f"{plan.info.path}: --bbox or --aoi does not touch it. check the area"
            )
        log.warning("%s: --bbox or --aoi does not touch it", plan.info.path)
    for plan in plans:
        if output.suffix.lower() == ".geojson" and plan.info.crs is None:
            raise SceneError(
                f"{plan.info.path}: has no coordinate reference system, and GeoJSON is in WGS 84. "
                "georeference it, or write a .gpkg"
            )
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


def _check_no_other_work(folder: Path, plans: Sequence[ScenePlan], output: Path) -> None:
    begun = {journal.parent.name for journal in folder.glob("*/journal")}
    if begun - {plan.key for plan in plans}:
        raise ConfigError(
            f"{output}: an interrupted run of other scenes left its work beside it. "
            "repeat that command, or use --restart to begin anew"
        )


def _table(plan: ScenePlan, legend: Legend) -> Table:
    return Table(legend, plan.info.crs, map_transform(plan.info.transform), plan.name)


def _picture_of(plan: ScenePlan) -> Path | None:
    """The scene, where it is one file on this machine."""
    (scene, *others) = plan.scene.files
    return scene if isinstance(scene, Path) and not others else None


def _provenance(scenes: Sequence[ScenePath], model: Model) -> dict[str, Any]:
    return {
        "scenes": [scene.name for scene in scenes],
        "model": model.path.name,
        "model_sha256": model.sha256,
    }


# A folder of products, one file for each scene.


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
    ``STEM.tif`` or ``STEM.png`` per scene; missing folders are created. Scenes whose products all
    exist are skipped unless ``run.overwrite`` is set.

    Returns
    -------
    Path
        `folder`.

    Raises
    ------
    SkippedInputsError
        After the other scenes are complete, if some could not be read.
    """
    folder = Path(folder)
    sources = [scene_path(one) for one in scenes]
    stems = [Path(one.name).stem for one in sources]
    if len({stem.casefold() for stem in stems}) < len(stems):
        raise ConfigError(
            f"{folder}: two scenes have one name, so their products would too. "
            "give each group a folder of its own"
        )
    if outputs.dota_results or outputs.append:
        raise ConfigError(
            f"{folder}: --append and --dota-results are about one file for all scenes. "
            "give it a name in .gpkg"
        )
    wanted = {kind: (path, ".tif") for kind, path in _rasters(outputs).items()}
    wanted["picture"] = (outputs.picture, ".png")
    folders = {kind: (Path(path), suffix) for kind, (path, suffix) in wanted.items() if path}
    for made in (folder, *(path for path, _ in folders.values())):
        _make_folder(made)
    faults = Faults(keep_going=len(sources) > 1)

    done = 0
    for source in sources:
        stem = Path(source.name).stem
        output = folder / f"{stem}.gpkg"
        named: dict[str, Any] = {
            kind: path / f"{stem}{suffix}" for kind, (path, suffix) in folders.items()
        }
        with faults.skip_scene():
            if not run.overwrite and all(product.exists() for product in (output, *named.values())):
                log.info("%s: is there already", output)
            else:
                segment(
                    source,
                    output,
                    model=model,
                    scene=scene,
                    tiling=tiling,
                    compute=compute,
                    polygons=polygons,
                    outputs=replace(outputs, **named),
                    run=run,
                    track=track,
                )
            done += 1
    faults.check(left=done)
    faults.tell(folder)
    return folder


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{folder}: no folder can be made there ({fault.strerror}). choose another name"
        ) from fault
