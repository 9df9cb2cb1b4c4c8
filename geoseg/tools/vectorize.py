"""What is made of polygons on their way into a file: boxes as text, and a picture."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
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
from geoseg.options import Append, PolygonOptions, StrPath, VectorizeOutputs, WriteOptions, as_path
from geoseg.polygons.attributes import row_areas
from geoseg.polygons.table import Segments, Table, segments, to_frame
from geoseg.polygons.writers.formats import check_format, write_style, writer
from geoseg.polygons.writers.gpkg import Layers, append_polygons, check_appendable
from geoseg.progress import Track, silent
from geoseg.raster.labels import (
    ConfidenceArray,
    ConfidenceFile,
    LabelArray,
    LabelFile,
    open_confidence,
    open_labels,
    read_legend,
    read_strips,
)

if TYPE_CHECKING:
    from geopandas import GeoDataFrame


PICTURE_SIZE = 2048
"""Pixels of a picture's longer side, without its legend."""

Sink = Callable[[Segments, NDArray[np.bool_]], None]


@dataclass(frozen=True, slots=True)
class Beside:
    """Products beside the file of polygons; None: not wanted."""

    dota_results: Path | None = None
    """A folder for `geoseg.polygons.writers.dota`."""

    picture: Path | None = None
    """A PNG of the polygons with a legend."""

    picture_of: Path | None = None
    """The scene to draw them over; None: white paper."""


@contextmanager
def made_beside(
    found: Iterable[Segments],
    table: Table,
    cleaning: PolygonOptions,
    wanted: Beside,
    *,
    shape: tuple[int, int],
    overwrite: bool = False,
    append: bool = False,
) -> Iterator[Iterable[Segments]]:
    """The polygons, which also go into what is wanted; that is complete when the block ends well.

    shape: rows and columns of the labels. Memory does not grow with them. Raises OutputError and
    ConfigError before the first polygon, if something cannot be written.
    """
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if wanted.dota_results is not None:
            sinks.append(
                stack.enter_context(
                    _results(wanted.dota_results, table, overwrite=overwrite, append=append)
                )
            )
        if wanted.picture is not None:
            sinks.append(
                stack.enter_context(
                    _drawn(wanted.picture, wanted.picture_of, table, shape, overwrite=overwrite)
                )
            )
        yield _passed(found, table, cleaning, sinks) if sinks else found


def _passed(
    found: Iterable[Segments], table: Table, cleaning: PolygonOptions, sinks: list[Sink]
) -> Iterator[Segments]:
    for strip in found:
        large = table.large(strip.traced, cleaning)
        for sink in sinks:
            sink(strip, large)
        yield strip


@contextmanager
def _results(folder: Path, table: Table, *, overwrite: bool, append: bool) -> Iterator[Sink]:
    from geoseg.polygons.writers.dota import dota_results

    image = Path(table.scene).stem
    with dota_results(folder, table.legend, image, overwrite=overwrite, append=append) as results:
        yield lambda segments, large: results.add(segments.traced, large)


@contextmanager
def _drawn(
    picture: Path, scene: Path | None, table: Table, shape: tuple[int, int], *, overwrite: bool
) -> Iterator[Sink]:
    from geoseg.report.picture import Drawing, check_picture
    from geoseg.report.quicklook import blank_quicklook, read_quicklook

    check_picture(picture, overwrite=overwrite)
    backdrop = (
        read_quicklook(scene, size=PICTURE_SIZE)
        if scene
        else blank_quicklook(shape, table.transform, table.crs, size=PICTURE_SIZE)
    )
    drawing = Drawing(backdrop, table.legend, title=table.scene)
    yield lambda segments, large: drawing.add(
        segments.traced.class_id[large], segments.drawn.geometry(table.transform)[large]
    )
    drawing.save(picture, overwrite=overwrite)


# Labels to polygons: a raster of class ids in, a GeoPackage or another vector file out.

Raster = StrPath | NDArray[Any]
"""A file, or an array (rows, columns)."""


@overload
def vectorize(labels: Raster, output: None = None, **options: Any) -> GeoDataFrame: ...
@overload
def vectorize(labels: Raster, output: StrPath, **options: Any) -> Path: ...


def vectorize(  # type: ignore[misc]
    labels: Raster,
    output: StrPath | None = None,
    *,
    confidence: Raster | None = None,
    legend: Legend | None = None,
    crs: CRS | str | None = None,
    transform: Affine | None = None,
    polygons: PolygonOptions = PolygonOptions(),
    outputs: VectorizeOutputs = VectorizeOutputs(),
    run: WriteOptions = WriteOptions(),
    track: Track = silent,
) -> Path | GeoDataFrame:
    """Vectorize a raster of class IDs into polygons of its 4-connected components.

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
    """
    append, overwrite = outputs.append, run.overwrite
    scene, picture, results = map(as_path, (outputs.scene, outputs.picture, outputs.dota_results))
    name = outputs.name or (scene.name if scene else None)
    target = None if output is None else Path(output)
    with ExitStack() as stack:
        if target is not None:
            _check_target(
                target, overwrite=overwrite, append=append, by_class=outputs.layer_per_class
            )
        _check_inputs_stay([labels, confidence, scene], [target, picture])
        source = _open(stack, labels, crs=crs, transform=transform, name=name)
        sureness = _open_confidence(stack, confidence, source)
        legend = legend or read_legend(source)
        table = Table(legend, source.crs, source.transform, name or source.name)
        areas = row_areas(table.transform, table.crs, source.shape[1])
        if polygons.min_area_m2 and np.isnan(areas(0, 1)).any():
            raise SceneError(
                f"{table.scene}: nobody knows how large its pixels are on the ground. "
                "use --min-pixels, or give it a coordinate reference system: gdal_edit.py -a_srs"
            )
        # reading, tracing and writing each have a thread: they leave Python's lock alone mostly
        reader, tracer = (stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
        strips = prefetch(reader, read_strips(source, sureness, legend, track))
        traced = prefetch(tracer, segments(strips, polygons, areas))
        found = stack.enter_context(
            made_beside(
                traced,
                table,
                polygons,
                Beside(dota_results=results, picture=picture, picture_of=scene),
                shape=source.shape,
                overwrite=overwrite,
                append=bool(append),
            )
        )
        if target is None:
            return to_frame(found, table, polygons)
        record = {**origin(), **(outputs.provenance or {"labels": table.scene})}
        layers = Layers(by_class=outputs.layer_per_class, provenance=record)
        if append == "in place" and target.exists():
            append_polygons(target, found, table, cleaning=polygons, layers=layers)
        elif append and target.exists():
            check_appendable(target, table, layers)
            with replacing(target, overwrite=True) as scratch:
                shutil.copyfile(target, scratch)
                append_polygons(scratch, found, table, cleaning=polygons, layers=layers)
        else:
            with replacing(target, overwrite=overwrite) as scratch:
                writer(target.suffix.lower())(scratch, found, table, polygons, layers)
            write_style(target, table)
    return target


def origin() -> dict[str, str]:
    """What the provenance of a product begins with: this geoseg, and the time in UTC."""
    now = datetime.now(UTC).replace(tzinfo=None)
    return {"geoseg": __version__, "date": now.isoformat(timespec="seconds") + "Z"}


def _check_target(target: Path, *, overwrite: bool, append: Append, by_class: bool) -> None:
    suffix = check_format(target)
    if suffix != ".gpkg" and (append or by_class):
        wish = "append to a file" if append else "hold a layer for each class"
        raise ConfigError(f"{target}: only a GeoPackage can {wish}. give it a name in .gpkg")
    if append is True and overwrite:
        raise ConfigError(f"{target}: is either to be overwritten or appended to. choose one")
    check_output(target, overwrite=bool(overwrite or append))


def _check_inputs_stay(inputs: list[Raster | None], products: list[Path | None]) -> None:
    files = [Path(given) for given in inputs if isinstance(given, str | os.PathLike)]
    for product in (product for product in products if product is not None):
        if any(product.exists() and file.exists() and product.samefile(file) for file in files):
            raise OutputError(f"{product}: is one of the inputs. choose another name")


def _open(
    stack: ExitStack,
    labels: Raster,
    *,
    crs: CRS | str | None,
    transform: Affine | None,
    name: str | None,
) -> LabelFile | LabelArray:
    if isinstance(labels, np.ndarray):
        place = None if crs is None else CRS.from_user_input(crs)
        return LabelArray(labels, crs=place, transform=transform, name=name or "labels")
    if crs is not None or transform is not None:
        raise ValueError("crs and transform place an array; a file has its own")
    return stack.enter_context(open_labels(Path(labels)))


def _open_confidence(
    stack: ExitStack, confidence: Raster | None, labels: LabelFile | LabelArray
) -> ConfidenceFile | ConfidenceArray | None:
    if confidence is None:
        return None
    if isinstance(confidence, np.ndarray):
        return ConfidenceArray(confidence, labels)
    if isinstance(labels, LabelArray):
        raise ValueError("the confidence of an array is an array")
    return stack.enter_context(open_confidence(Path(confidence), labels))
