"""What is made of polygons on their way into a file: boxes as text, and a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.cleaning import Cleaning
from geoseg.polygons.table import Segments, Table

PICTURE_SIZE = 2048
"""Pixels of a picture's longer side, without its legend."""

Sink = Callable[[Segments, NDArray[np.bool_]], None]


@dataclass(frozen=True, slots=True)
class Beside:
    """Products beside the file of polygons; None: not wanted."""

    dota_results: Path | None = None
    """A folder for `geoseg.polygons.dota_results`."""

    picture: Path | None = None
    """A PNG of the polygons with a legend."""

    picture_of: Path | None = None
    """The scene to draw them over; None: white paper."""


@contextmanager
def made_beside(
    found: Iterable[Segments],
    table: Table,
    cleaning: Cleaning,
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
    found: Iterable[Segments], table: Table, cleaning: Cleaning, sinks: list[Sink]
) -> Iterator[Segments]:
    for segments in found:
        large = table.large(segments.traced, cleaning)
        for sink in sinks:
            sink(segments, large)
        yield segments


@contextmanager
def _results(folder: Path, table: Table, *, overwrite: bool, append: bool) -> Iterator[Sink]:
    from geoseg.polygons.dota_results import dota_results

    image = Path(table.scene).stem
    with dota_results(folder, table.legend, image, overwrite=overwrite, append=append) as results:
        yield lambda segments, large: results.add(segments.traced, large)


@contextmanager
def _drawn(
    picture: Path, scene: Path | None, table: Table, shape: tuple[int, int], *, overwrite: bool
) -> Iterator[Sink]:
    from geoseg.report.backdrop import blank_backdrop, read_backdrop
    from geoseg.report.picture import Drawing, check_picture

    check_picture(picture, overwrite=overwrite)
    backdrop = (
        read_backdrop(scene, size=PICTURE_SIZE)
        if scene
        else blank_backdrop(shape, table.transform, table.crs, size=PICTURE_SIZE)
    )
    drawing = Drawing(backdrop, table.legend, title=table.scene)
    yield lambda segments, large: drawing.add(
        segments.traced.class_id[large], segments.drawn.geometry(table.transform)[large]
    )
    drawing.save(picture, overwrite=overwrite)
