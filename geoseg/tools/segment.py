"""Scenes that could not be read, when there are others to go on with."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any, TypeVar

from geoseg.errors import ConfigError, OutputError, SceneError, SkippedInputsError
from geoseg.files import Source, Url, check_output, discard, source
from geoseg.heap import ask_for_huge_pages
from geoseg.inference.plan import Job, Plan, Planner, check_memory
from geoseg.inference.reader import Gsd
from geoseg.inference.run import CONFIDENCE, LABELS, PROBABILITIES, work_on
from geoseg.inference.tiling import Margin
from geoseg.legend import Legend
from geoseg.models.model_file import Model
from geoseg.models.runtime import Backend, choose_device
from geoseg.options import PolygonOptions
from geoseg.polygons.styles import raster_colormap, write_raster_style
from geoseg.polygons.table import Table
from geoseg.polygons.writers.dota import check_results
from geoseg.polygons.writers.formats import check_format, write_style
from geoseg.polygons.writers.gpkg import Layers, check_appendable
from geoseg.progress import Track, silent
from geoseg.raster.aoi import Box
from geoseg.raster.cog import Resampling, write_cog
from geoseg.raster.georeference import map_transform
from geoseg.raster.labels import legend_tags
from geoseg.report.picture import check_picture
from geoseg.tools.vectorize import origin, vectorize
from geoseg.work_folder import Move, finish, take_names, unfinished

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)


class Faults:
    """What went wrong on the way; `keep_going` goes past it."""

    def __init__(self, *, keep_going: bool) -> None:
        self._keep_going = keep_going
        self._found: list[SceneError] = []

    def tried(self, function: Callable[[T], R], argument: T) -> R | None:
        """``function(argument)``, or None where that raises a SceneError that can be gone past."""
        try:
            return function(argument)
        except SceneError as error:
            if not self._keep_going:
                raise
            log.warning("%s", error)
            self._found.append(error)
            return None

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
    scenes: Source | str | Sequence[Source | str],
    output: Path | str,
    *,
    model: Path | str | None = None,
    labels: Path | str | None = None,
    confidence: Path | str | None = None,
    probabilities: Path | str | None = None,
    mosaic: bool = False,
    bands: tuple[int, ...] | None = None,
    gsd: Gsd = "auto",
    bbox: Box | None = None,
    aoi: Path | str | None = None,
    augmented: bool = False,
    cleaning: PolygonOptions = PolygonOptions(),
    layer_per_class: bool = False,
    append: bool = False,
    dota_results: Path | str | None = None,
    picture: Path | str | None = None,
    core: int | None = None,
    margin: Margin = "auto",
    memory: int | None = None,
    batch_size: int = 1,
    device: str = "auto",
    backend: Backend = "auto",
    card: Path | str | None = None,
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
    pixel size at which the network sees a scene, see `geoseg.inference.reader`. `bbox` (west, south,
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
    are explained in `geoseg.inference.tiling`; cores are chosen to keep within `memory` bytes
    (default: 2 GB, or what a GPU has left). `augmented` looks at everything in 8 orientations.
    `batch_size` tiles go through the network at a time. `backend` computes the network, see
    `geoseg.models.runtime`; `model` may be an ONNX file, and `card` what it does not say of itself.
    The workers of an `executor` decide, if there is one.

    Returns `output`. Raises ConfigError, SceneError, AnnotationError, ModelError and OutputError,
    before the first tile where possible.
    """
    sources = [source(scene) for scene in _listed(scenes)]
    groups = [tuple(sources)] if mosaic else [(scene,) for scene in sources]
    wanted = {LABELS: labels, CONFIDENCE: confidence, PROBABILITIES: probabilities}
    rasters = {kind: Path(path) for kind, path in wanted.items() if path}
    output, picture, dota_results = Path(output), _path(picture), _path(dota_results)
    products = [output, *rasters.values(), *filter(None, [picture])]
    _check_groups(groups, products[1:])
    _check_formats(output, rasters.values(), picture)
    _check_products(products, [*sources, _path(model), _path(aoi), _path(card)])
    _check_gpkg(output, many=len(groups) > 1, by_class=layer_per_class, append=append)
    if append and overwrite:
        raise ConfigError(f"{output}: is either to be overwritten or appended to. choose one")
    if batch_size < 1:
        raise ConfigError(f"--batch-size: must be 1 or more, got {batch_size}")
    check_memory(memory)
    remote = any(isinstance(scene, Url) for scene in sources)
    with unfinished(output, restart=restart, remote=remote) as folder:
        if finish(folder, products):
            log.info("%s: an earlier run had made it, but for its name", output)
            return output
        for product in products:
            check_output(product, overwrite=overwrite or (append and product == output))
        job = Job(
            indexes=bands,
            model=_path(model),
            card=_path(card),
            device=choose_device(device),
            backend=backend,
            probabilities=PROBABILITIES in rasters,
            augmented=augmented,
        )
        ask_for_huge_pages()  # before the first tensor
        opened = job.open_model()
        legend = opened.card.legend
        job = replace(job, bands=opened.card.bands, dtype=opened.card.dtype)
        if dota_results and not append:
            check_results(dota_results, legend, overwrite=overwrite)
        planner = Planner(
            opened, job, core=core, margin=margin, memory=memory, batch_size=batch_size,
            gsd=gsd, bbox=bbox, aoi=_path(aoi),
        )  # fmt: skip
        faults = Faults(keep_going=len(groups) > 1)
        plans = [plan for group in groups if (plan := faults.tried(planner.plan, group))]
        _check_together(plans, cleaning, output)
        _check_no_other_work(folder, plans, output)
        layers = Layers(
            by_class=layer_per_class,
            provenance={**origin(), **_provenance(sources, opened), **(provenance or {})},
        )
        if append and output.exists():
            for plan in plans:
                check_appendable(output, _table(plan, legend), layers)
        predictor = job.predictor(opened)

        def worked_on(plan: Plan) -> dict[str, Path]:
            return work_on(
                plan, folder,
                legend=legend, colormap=raster_colormap(legend), tags=legend_tags(legend),
                output=output, predictor=predictor, batch_size=batch_size, executor=executor,
                track=track,
            )  # fmt: skip

        made = [(plan, found) for plan in plans if (found := faults.tried(worked_on, plan))]
        faults.check(left=len(made))
        moves = _made_rasters(made[0][1], rasters, legend, folder, overwrite=overwrite)
        results = _fresh_folder(folder / "results", dota_results if append else None)
        polygons = folder / f"polygons{output.suffix.lower()}"
        discard(polygons)
        if append and output.exists():
            shutil.copyfile(output, polygons)
        drawn = folder / "picture.png"
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
                dota_results=results if dota_results else None,
                picture=drawn if picture else None,
                picture_of=_picture_of(plan),
                overwrite=True,
                provenance=layers.provenance,
                track=track,
            )
        if picture:
            moves.append(Move(drawn, picture, overwrite))
        if dota_results:
            moves += [
                Move(text, dota_results / text.name, overwrite or append)
                for text in sorted(results.iterdir())
            ]
        # the polygons are the last to take their name
        take_names(folder, [*moves, Move(polygons, output, overwrite or append)])
        write_style(output, _table(made[0][0], legend))
    faults.tell(output)
    return output


def _listed(scenes: Source | str | Sequence[Source | str]) -> list[Source | str]:
    return [scenes] if isinstance(scenes, str | Path) else list(scenes)


def _path(path: Path | str | None) -> Path | None:
    return None if path is None else Path(path)


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


def _check_groups(groups: Sequence[Sequence[Source]], of_one: Sequence[Path]) -> None:
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


def _check_products(products: Sequence[Path], inputs: Sequence[Source | None]) -> None:
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


def _check_together(plans: Sequence[Plan], cleaning: PolygonOptions, output: Path) -> None:
    outside = [plan for plan in plans if plan.outside]
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


def _check_no_other_work(folder: Path, plans: Sequence[Plan], output: Path) -> None:
    begun = {journal.parent.name for journal in folder.glob("*/journal")}
    if begun - {plan.key for plan in plans}:
        raise ConfigError(
            f"{output}: an interrupted run of other scenes left its work beside it. "
            "repeat that command, or use --restart to begin anew"
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


# A folder of products, one file for each scene.


def segment_each(
    scenes: Sequence[Source],
    folder: Path,
    *,
    labels: Path | None = None,
    confidence: Path | None = None,
    probabilities: Path | None = None,
    picture: Path | None = None,
    dota_results: Path | None = None,
    append: bool = False,
    overwrite: bool = False,
    **how: Any,
) -> Path:
    """`segment` for each scene by itself: ``STEM.gpkg`` in `folder`, rasters as ``STEM.tif`` and pictures
    as ``STEM.png`` in folders of theirs; folders are made where they are missing.

    Scenes whose products are all there already are left as they are, unless `overwrite` is on: an
    interrupted run goes on from there. `how` is passed on to `segment`. Returns `folder`. Raises
    SkippedInputsError when some scenes could not be read but others could, and what `segment`
    raises.
    """
    stems = [Path(scene.name).stem for scene in scenes]
    if len({stem.casefold() for stem in stems}) < len(stems):
        raise ConfigError(
            f"{folder}: two scenes have one name, so their products would too. "
            "give each group a folder of its own"
        )
    if dota_results or append:
        raise ConfigError(
            f"{folder}: --append and --dota-results are about one file for all scenes. "
            "give it a name in .gpkg"
        )
    wanted = {
        LABELS: (labels, ".tif"),
        CONFIDENCE: (confidence, ".tif"),
        PROBABILITIES: (probabilities, ".tif"),
        "picture": (picture, ".png"),
    }
    folders = {kind: (path, suffix) for kind, (path, suffix) in wanted.items() if path}
    for made in (folder, *(path for path, _ in folders.values())):
        _make_folder(made)
    faults = Faults(keep_going=len(scenes) > 1)

    def one(scene: Source) -> Path:
        stem = Path(scene.name).stem
        output = folder / f"{stem}.gpkg"
        named: dict[str, Any] = {
            kind: path / f"{stem}{suffix}" for kind, (path, suffix) in folders.items()
        }
        if not overwrite and all(product.exists() for product in (output, *named.values())):
            log.info("%s: is there already", output)
            return output
        return segment(scene, output, overwrite=overwrite, **named, **how)

    done = [output for scene in scenes if (output := faults.tried(one, scene))]
    faults.check(left=len(done))
    faults.tell(folder)
    return folder


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as fault:
        raise OutputError(
            f"{folder}: no folder can be made there ({fault.strerror}). choose another name"
        ) from fault
