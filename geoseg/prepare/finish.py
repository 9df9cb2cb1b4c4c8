"""A dataset's files: scenes, annotations.gpkg, dataset.json."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from geoseg.dataset import ANNOTATIONS, DESCRIPTION, describe, transformed
from geoseg.errors import DatasetError, OutputError
from geoseg.files import write_json
from geoseg.legend import Legend
from geoseg.polygons.gpkg_tables import add_layer_style
from geoseg.polygons.table import GEOMETRY
from geoseg.prepare.counts import class_counts
from geoseg.prepare.findings import Findings
from geoseg.prepare.georeference import common_crs
from geoseg.prepare.record import Record
from geoseg.prepare.scenes import Placed, Written, write
from geoseg.prepare.threads import Threads


def write_dataset(
    placed: Sequence[Placed],
    folder: Path,
    record: Record,
    legend: Legend,
    threads: Threads,
    findings: Findings,
) -> None:
    """Scenes, annotations and description, into a folder; scenes that cannot be written go to `findings`.

    Raises DatasetError when none is left.
    """
    crs = common_crs([p.input.image for p in placed])
    writing = partial(
        write, folder=folder, crs=crs, legend=legend, record=record, check=threads.check
    )
    written = threads.run(writing, placed, "write scenes", findings, at_once=True)
    if not written:
        raise DatasetError(f"{folder}: no scene is left. {findings.faults_text()}")
    written.sort(key=lambda w: w.scene.name)
    record.close([w.scene for w in written])
    (folder / ANNOTATIONS).unlink(missing_ok=True)  # of a run that was killed
    write_annotations(written, folder, crs, legend)
    write_description(written, folder, crs, legend)


def write_annotations(
    written: Sequence[Written], folder: Path, crs: CRS | None, legend: Legend
) -> None:
    """Write one GeoPackage with a layer per truth, in map coordinates, in the legend's colours."""
    path = folder / ANNOTATIONS
    for layer in written[0].truths:
        table = _table(written, layer, crs, legend)
        simple = bool((table.geom_type == "Polygon").all())
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "'crs' was not provided")
                table.to_file(
                    path,
                    layer=layer,
                    driver="GPKG",
                    engine="pyogrio",
                    index=False,
                    geometry_type="Polygon" if simple else "MultiPolygon",
                    promote_to_multi=not simple,
                    layer_options={"GEOMETRY_NAME": GEOMETRY},
                )
        except (RuntimeError, ValueError) as fault:
            raise OutputError(
                f"{ANNOTATIONS}: cannot be written ({fault}). is the disk full?"
            ) from fault
    for layer in written[0].truths:
        add_layer_style(path, legend, layer=layer)


def write_description(
    written: Sequence[Written], folder: Path, crs: CRS | None, legend: Legend
) -> None:
    """Write dataset.json."""
    splits = [w.scene.split for w in written]
    layers = {
        layer: class_counts([w.tallies[layer] for w in written], splits, legend)
        for layer in written[0].truths
    }
    scenes = [w.scene for w in written]
    wkt = crs.to_wkt() if crs else None
    write_json(folder / DESCRIPTION, describe(legend=legend, scenes=scenes, layers=layers, crs=wkt))


def _table(
    written: Sequence[Written], layer: str, crs: CRS | None, legend: Legend
) -> gpd.GeoDataFrame:
    truths = [w.truths[layer] for w in written]
    class_id = np.concatenate([truth.class_id for truth in truths])
    return gpd.GeoDataFrame(
        {
            "scene": np.repeat([w.scene.name for w in written], [len(truth) for truth in truths]),
            "class": _class_names(class_id, legend),
            "class_id": class_id.astype(np.int16),
            "difficult": np.concatenate([truth.difficult for truth in truths]),
        },
        geometry=np.concatenate(
            [
                transformed(truth.geometry, Affine(*w.scene.transform))
                for w, truth in zip(written, truths, strict=True)
            ]
        ),
        crs=crs.to_wkt() if crs else None,
    )


def _class_names(class_id: NDArray[np.uint8], legend: Legend) -> NDArray[np.object_]:
    known, which = np.unique(class_id, return_inverse=True)
    return np.array([legend.name_of(label) for label in known.tolist()], object)[which]
