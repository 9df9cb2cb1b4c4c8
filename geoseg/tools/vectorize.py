"""Vectorize a label raster into polygons, with further products made of the same polygons."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import combinations
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg._version import __version__
from geoseg.concurrency import prefetch
from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.files import check_output, replacing
from geoseg.legend import Legend
from geoseg.options import (
    PolygonOptions,
    StrPath,
    VectorizeOutputs,
    WriteOptions,
    as_path,
)
from geoseg.polygons.object_raster import (
    Energy,
    choose_decoding,
    open_objects,
    read_energy_strips,
)
from geoseg.polygons.objects import Decoding
from geoseg.polygons.table import (
    AttributeTable,
    Polygons,
    extract_polygons,
    find_class_ids,
    to_geodataframe,
)
from geoseg.polygons.trace import Strip
from geoseg.polygons.writers.gpkg import append_polygons, check_appendable
from geoseg.polygons.writers.ogr import LayerLayout
from geoseg.polygons.writers.registry import check_format, find_writer, write_style_sidecar
from geoseg.progress import Track, silent
from geoseg.raster.checks import open_raster
from geoseg.raster.cog import RowWriter, check_cog_name, ignore_missing_georeference, write_cog
from geoseg.raster.georeference import format_crs, map_transform, metres_per_unit
from geoseg.raster.labels import (
    Certainty,
    CertaintyPlanes,
    ConfidenceArray,
    ConfidenceFile,
    LabelArray,
    LabelFile,
    open_confidence,
    open_labels,
    read_legend,
    read_strips,
)
from geoseg.raster.scene import SceneInfo, read_scene_info

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from geoseg.report.quicklook import Quicklook


log = logging.getLogger(__name__)

PICTURE_SIZE = 2048
"""Pixels of the longer side of a picture, without its legend."""

Raster = StrPath | NDArray[Any]
"""A file, or an array (rows, columns)."""

Sink = Callable[[Polygons, NDArray[np.bool_]], None]
"""Receives every batch of polygons, and (n,) True for those that the options keep."""


@overload
def vectorize(labels: Raster, output: None = None, **options: Any) -> GeoDataFrame: ...
@overload
def vectorize(labels: Raster, output: StrPath, **options: Any) -> Path: ...


def vectorize(  # type: ignore[misc]
    labels: Raster,
    output: StrPath | None = None,
    *,
    confidence: Raster | None = None,
    interior: Raster | None = None,
    uncertainty: Raster | None = None,
    legend: Legend | None = None,
    crs: CRS | str | None = None,
    transform: Affine | None = None,
    polygons: PolygonOptions = PolygonOptions(),
    outputs: VectorizeOutputs = VectorizeOutputs(),
    run: WriteOptions = WriteOptions(),
    track: Track = silent,
) -> Path | GeoDataFrame:
    """Vectorize a raster of class IDs into polygons of its 4-connected components, or of separated objects.

    Parameters
    ----------
    labels
        File, or integer array (rows, columns). 0 is background, 1 to 254 are classes; 255 and the
        nodata value are ignored. A file is read in strips.
    output
        File to write. The suffix selects the format: ``.gpkg``, ``.parquet``, ``.fgb`` or
        ``.geojson``. None: return a GeoDataFrame.
    confidence
        uint8 raster on the same grid; 0 to 200 stands for 0 to 1.
    interior
        uint8 raster of the probability that a pixel is in the interior of one object, as confidence.
        Objects of countable classes are separated by it.
    uncertainty
        uint8 raster on the same grid, as confidence. Polygons get a column with its mean.
    legend
        Names and colours of the classes. Default: those of the raster (tag GEOSEG_LEGEND, category
        names, colour table), else ``class_<id>``.
    crs, transform
        Georeference of an array.
    polygons
        Cleaning and simplification.
    outputs
        Layers, provenance, and products beside the polygons.
    run
        Treatment of existing products.
    track
        Progress of an iterable.

    Returns
    -------
    Path or GeoDataFrame
        `output`, or the polygons if it is None.

    Raises
    ------
    SceneError, OutputError, ConfigError
    ValueError
        If an array has the wrong shape or type.

    Examples
    --------
    >>> import numpy as np
    >>> import geoseg
    >>> labels = np.array([[1, 1, 0], [0, 0, 2]], np.uint8)
    >>> geoseg.vectorize(labels)[["class", "pixels"]].values.tolist()
    [['class_1', 2], ['class_2', 1]]
    """
    target, scene = as_path(output), as_path(outputs.scene)
    name = outputs.name or (scene.name if scene else None)
    if target is not None:
        _check_target(target, outputs, run)
    products = [target, as_path(outputs.picture), as_path(outputs.objects)]
    _check_products([labels, confidence, interior, uncertainty, scene], products)
    with ExitStack() as stack:
        source = _open_labels(stack, labels, crs=crs, transform=transform, name=name)
        certainty = _open_plane(stack, confidence, source, "confidence")
        inside = _open_plane(stack, interior, source, "interior")
        entropy = _open_plane(stack, uncertainty, source, "uncertainty")
        planes = certainty if entropy is None else CertaintyPlanes(certainty, entropy)
        legend = legend or read_legend(source)
        scene_name, uncertain = name or source.name, entropy is not None
        size = source.pixel_size_m if outputs.pixel_size_m is None else outputs.pixel_size_m
        unit_m = metres_per_unit(source.transform, size)
        table = AttributeTable(legend, source.crs, source.transform, scene_name, uncertain, unit_m)
        find_class_ids(legend, polygons.classes)
        areas = table.row_areas(source.shape[1])
        if polygons.min_area_m2 and np.isnan(areas(0, 1)).any():
            raise SceneError(
                f"{table.scene}: pixel size unknown, --min-area needs square metres. "
                "Pass --min-pixels, --pixel-size METRES, or assign a CRS with gdal_edit.py -a_srs"
            )
        separation = choose_decoding(
            polygons, legend, confidence=certainty, interior=inside, row_area=areas
        )
        if separation and not any(legend.countable):
            log.warning("%s: no class is countable, so no objects are separated", table.scene)
        rasters = _Rasters(source, planes, target, as_path(outputs.objects))
        class_id, strips = stack.enter_context(
            _open_strips(rasters, separation, legend, polygons, run, track)
        )
        # reading, tracing and writing release the GIL most of the time
        reader, tracer = (stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
        strips = prefetch(reader, strips)
        extracted = extract_polygons(
            strips, polygons, areas, class_id=class_id, countable=legend.countable
        )
        traced = prefetch(tracer, extracted)
        sinks = stack.enter_context(_open_sinks(table, source.shape, outputs, run))
        batches = _feed_sinks(traced, sinks, table, polygons)
        if target is None:
            return to_geodataframe(batches, table, polygons)
        _write(target, batches, table, polygons, outputs, run)
    return target


@dataclass(frozen=True, slots=True)
class _Rasters:
    """Rasters of `vectorize`, and where its products are."""

    labels: LabelFile | LabelArray
    confidence: Certainty | None
    target: Path | None
    objects: Path | None


@contextmanager
def _open_strips(
    rasters: _Rasters,
    separation: tuple[Decoding, Energy] | None,
    legend: Legend,
    options: PolygonOptions,
    run: WriteOptions,
    track: Track,
) -> Iterator[tuple[NDArray[np.uint8] | None, Iterable[Strip]]]:
    """Yield None and strips of labels; or the class of each object, and strips of their IDs.

    The raster of IDs, if it is asked for, is complete when the block ends.
    """
    labels, confidence, output = rasters.labels, rasters.confidence, rasters.objects
    if output is not None:
        check_cog_name(output)
        check_output(output, overwrite=run.overwrite)
    if separation is None:
        if output is not None:
            raise ConfigError(
                f"{output}: objects are not separated. Pass --interior TIF without --merged, "
                "or --confidence TIF and --split confidence"
            )
        yield None, read_strips(labels, confidence, legend, track)
        return
    decoding, energy = separation
    near = rasters.target or output
    with ExitStack() as stack:
        folder = stack.enter_context(
            TemporaryDirectory(prefix=".geoseg-", dir=None if near is None else near.parent)
        )
        energies = read_energy_strips(labels, energy, legend, track)
        decoded = Path(folder, "decoded.tif")
        objects = stack.enter_context(
            open_objects(energies, decoding, shape=labels.shape, path=decoded)
        )
        windows = track(labels.strips(), "vectorize")
        strips = objects.read_strips(windows, confidence, fill_holes=options.fill_holes)
        if output is not None:
            scratch = stack.enter_context(replacing(output, overwrite=run.overwrite))
            strips = stack.enter_context(
                _copy_ids(strips, labels, Path(folder, "ids.tif"), scratch)
            )
        yield objects.class_id, strips


@contextmanager
def _copy_ids(
    strips: Iterable[Strip], labels: LabelFile | LabelArray, working: Path, cog: Path
) -> Iterator[Iterator[Strip]]:
    """Yield `strips`; what was read of them is written to a COG when the block ends."""
    crs, transform = labels.crs, labels.transform
    if isinstance(labels, LabelFile):
        transform = labels.dataset.transform
    writer = RowWriter(working, labels.shape, "uint32", crs=crs, transform=transform)

    def copy() -> Iterator[Strip]:
        for ids, confidence in strips:
            writer.write(ids)
            yield ids, confidence

    with closing(writer):
        yield copy()
    write_cog(working, cog, overviews="mode")


def origin() -> dict[str, str]:
    """Return the first entries of the provenance of a product: version of geoseg, and time in UTC."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return {"geoseg": __version__, "date": now.isoformat(timespec="seconds") + "Z"}


def _write(
    target: Path,
    batches: Iterable[Polygons],
    table: AttributeTable,
    polygons: PolygonOptions,
    outputs: VectorizeOutputs,
    run: WriteOptions,
) -> None:
    """Write a new file, or append to a GeoPackage: to a copy that replaces it, or in place."""
    record = {**origin(), **(outputs.provenance or {"labels": table.scene})}
    layout = LayerLayout(by_class=outputs.layer_per_class, provenance=record)
    if outputs.append == "in place" and target.exists():
        append_polygons(target, batches, table, polygons, layout)
    elif outputs.append and target.exists():
        check_appendable(target, table, layout)
        with replacing(target, overwrite=True) as scratch:
            shutil.copyfile(target, scratch)
            append_polygons(scratch, batches, table, polygons, layout)
    else:
        with replacing(target, overwrite=run.overwrite) as scratch:
            find_writer(target.suffix.lower())(scratch, batches, table, polygons, layout)
        write_style_sidecar(target, table)


def _check_target(target: Path, outputs: VectorizeOutputs, run: WriteOptions) -> None:
    suffix = check_format(target)
    if suffix != ".gpkg" and (outputs.append or outputs.layer_per_class):
        option = "--append" if outputs.append else "--layer-per-class"
        raise ConfigError(f"{target}: {option} needs a GeoPackage. Name it with the suffix .gpkg")
    if outputs.append is True and run.overwrite:
        raise ConfigError(
            f"{target}: --append and --overwrite exclude each other. Pass one of them"
        )
    check_output(target, overwrite=bool(run.overwrite or outputs.append))


def _check_products(inputs: Sequence[Raster | None], products: Sequence[Path | None]) -> None:
    """Raise ConfigError if two products have one name, and OutputError if a product would replace an input."""
    files = [Path(given) for given in inputs if isinstance(given, str | os.PathLike)]
    named = [product for product in products if product is not None]
    for one, other in combinations(named, 2):
        if one.absolute() == other.absolute():
            raise ConfigError(f"{one}: named for two outputs. Give each its own name")
    for product in named:
        if any(product.exists() and file.exists() and product.samefile(file) for file in files):
            raise OutputError(f"{product}: is one of the inputs. Choose another name")


def _open_labels(
    stack: ExitStack,
    labels: Raster,
    *,
    crs: CRS | str | None,
    transform: Affine | None,
    name: str | None,
) -> LabelFile | LabelArray:
    if isinstance(labels, np.ndarray):
        array_crs = None if crs is None else CRS.from_user_input(crs)
        return LabelArray(labels, crs=array_crs, transform=transform, name=name or "labels")
    if crs is not None or transform is not None:
        raise ValueError("crs and transform georeference an array; a file has its own")
    return stack.enter_context(open_labels(Path(labels)))


def _open_plane(
    stack: ExitStack, raster: Raster | None, labels: LabelFile | LabelArray, kind: str
) -> ConfidenceFile | ConfidenceArray | None:
    if raster is None:
        return None
    if isinstance(raster, np.ndarray):
        return ConfidenceArray(raster, labels, kind)
    if isinstance(labels, LabelArray):
        raise ValueError(f"the {kind} of an array must be an array")
    return stack.enter_context(open_confidence(Path(raster), labels, kind))


# Products beside the file of polygons


@contextmanager
def _open_sinks(
    table: AttributeTable, shape: tuple[int, int], outputs: VectorizeOutputs, run: WriteOptions
) -> Iterator[list[Sink]]:
    """Open the DOTA results and the picture; they are complete when the block ends.

    shape: rows and columns of the labels. Raises OutputError or ConfigError before the first polygon.
    """
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if results := as_path(outputs.dota_results):
            append = bool(outputs.append)
            sinks.append(
                stack.enter_context(
                    _open_results(results, table, overwrite=run.overwrite, append=append)
                )
            )
        if picture := as_path(outputs.picture):
            background = _read_background(outputs, table, shape)
            sinks.append(
                stack.enter_context(
                    _open_picture(picture, background, table, overwrite=run.overwrite)
                )
            )
        yield sinks


def _feed_sinks(
    batches: Iterable[Polygons],
    sinks: Sequence[Sink],
    table: AttributeTable,
    options: PolygonOptions,
) -> Iterator[Polygons]:
    """Yield `batches` after every sink has received them."""
    for polygons in batches:
        if sinks:
            kept = table.is_kept(polygons.regions, options)
            for sink in sinks:
                sink(polygons, kept)
        yield polygons


@contextmanager
def _open_results(
    folder: Path, table: AttributeTable, *, overwrite: bool, append: bool
) -> Iterator[Sink]:
    from geoseg.polygons.writers.dota import open_dota_results

    image = Path(table.scene).stem
    with open_dota_results(
        folder, table.legend, image, overwrite=overwrite, append=append
    ) as results:
        yield lambda polygons, kept: results.add(polygons.regions, kept)


@contextmanager
def _open_picture(
    picture: Path, background: Quicklook, table: AttributeTable, *, overwrite: bool
) -> Iterator[Sink]:
    from geoseg.report.picture import Drawing, check_picture

    check_picture(picture, overwrite=overwrite)
    drawing = Drawing(background, table.legend, title=table.scene)
    yield lambda polygons, kept: drawing.add(
        polygons.regions.class_id[kept], polygons.outlines.geometry(table.transform)[kept]
    )
    drawing.save(picture, overwrite=overwrite)


def _read_background(
    outputs: VectorizeOutputs, table: AttributeTable, shape: tuple[int, int]
) -> Quicklook:
    """Read the scene or the mosaic to draw on, or create a white picture; raises SceneError if it lies elsewhere."""
    from geoseg.report.quicklook import blank_quicklook, read_mosaic_quicklook, read_quicklook

    scene = as_path(outputs.scene)
    if outputs.mosaic:
        files = [Path(file) for file in outputs.mosaic]
        found = read_mosaic_quicklook(files, size=PICTURE_SIZE, allow_vrt=outputs.allow_vrt)
    elif scene:
        picture = read_quicklook(scene, size=PICTURE_SIZE, allow_vrt=outputs.allow_vrt)
        info = _read_info(scene, allow_vrt=outputs.allow_vrt)
        found = _place_background(picture, info, table, shape)
    else:
        found = blank_quicklook(shape, table.transform, table.crs, size=PICTURE_SIZE)
    if found.pixel_size_m is None and table.unit_m:
        side = table.unit_m / sqrt(abs(found.to_picture.determinant))
        found = replace(found, pixel_size_m=side)
    return found


def _read_info(scene: Path, *, allow_vrt: bool) -> SceneInfo:
    with ignore_missing_georeference(), open_raster(scene, allow_vrt=allow_vrt) as dataset:
        return read_scene_info(dataset, scene)


def _place_background(
    background: Quicklook, scene: SceneInfo, table: AttributeTable, shape: tuple[int, int]
) -> Quicklook:
    """Place the picture of a scene under labels: by their georeference, or by pixels if one has none.

    Raises SceneError if their CRS differs, if they do not overlap, or if one has no georeference and another size.
    """
    rows, columns = shape
    plain = scene.crs is None and scene.transform == Affine.identity()
    labels_plain = table.crs is None and table.transform == map_transform(Affine.identity())
    if plain or labels_plain:
        if (scene.height, scene.width) != (rows, columns):
            raise SceneError(
                f"{scene.path}: {scene.width} x {scene.height} pixels, but the labels are {columns} x {rows}, and "
                "not both have a georeference. Name the scene that the labels were made of"
            )
        height, width = background.picture.shape[:2]
        to_picture = Affine.scale(width / columns, height / rows) @ ~table.transform
        return replace(background, to_picture=to_picture)
    if scene.crs is not None and table.crs is not None and scene.crs != table.crs:
        raise SceneError(
            f"{scene.path}: has {format_crs(scene.crs)}, but the labels have {format_crs(table.crs)}. "
            "Reproject one of them: gdalwarp -t_srs"
        )
    corners = [table.transform @ at for at in ((0, 0), (columns, 0), (0, rows), (columns, rows))]
    x, y = zip(*corners, strict=True)
    left, bottom, right, top = background.bounds
    if min(x) >= right or max(x) <= left or min(y) >= top or max(y) <= bottom:
        raise SceneError(
            f"{scene.path}: does not overlap with the labels. Name the scene that the labels were made of"
        )
    return background
