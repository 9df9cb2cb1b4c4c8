"""One GeoPackage per scene, in a folder; scenes that are up to date are skipped."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyogrio
from pyogrio.errors import DataSourceError

from geoseg.errors import ConfigError, OutputError
from geoseg.files import ScenePath, scene_path
from geoseg.inference.predictor import open_model
from geoseg.models.model_file import Model
from geoseg.options import (
    ComputeOptions,
    PolygonOptions,
    RunOptions,
    SceneOptions,
    SegmentOutputs,
    StrPath,
    TilingOptions,
    as_path,
)
from geoseg.polygons.writers.gpkg import read_provenance
from geoseg.progress import Track, silent
from geoseg.tools.segment import segment
from geoseg.tools.segment_request import (
    RULES,
    SETTINGS,
    SegmentRequest,
    SkippedScenes,
    describe_settings,
    model_spec,
    raster_paths,
    resolve_split,
)

log = logging.getLogger(__name__)


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
        SegmentRequest(
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
        for kind, folder in raster_paths(outputs).items()
        if folder
    }
    picture = Path(outputs.picture) / f"{stem}.png" if outputs.picture else None
    return replace(outputs, picture=picture, **rasters)


def _check_folder(
    folder: Path, requests: Sequence[SegmentRequest], outputs: SegmentOutputs
) -> None:
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
    given = [*raster_paths(outputs).values(), outputs.picture]
    for path in (folder, *(Path(path) for path in given if path)):
        try:
            path.mkdir(exist_ok=True)
        except OSError as fault:
            raise OutputError(
                f"{path}: the folder cannot be created ({fault.strerror}). Choose another name"
            ) from fault


def _find_current(requests: Sequence[SegmentRequest]) -> set[Path]:
    """Return the outputs that need no work, or raise OutputError for one made from other inputs."""
    existing = [
        request
        for request in requests
        if not request.run.overwrite and all(product.exists() for product in request.products)
    ]
    if not existing:
        return set()
    model = open_model(model_spec(existing[0]))
    for request in existing:
        if changes := _list_changes(resolve_split(request, model), model):
            raise OutputError(
                f"{request.output}: exists already, made from other inputs ({'; '.join(changes)}). "
                "Use --overwrite, or choose another folder"
            )
    return {request.output for request in existing}


def _list_changes(request: SegmentRequest, model: Model) -> list[str]:
    """Compare the provenance of an existing output with a request."""
    made = _read_provenance(request.output)
    if SETTINGS not in made:
        return ["its provenance is unknown"]
    before = {"model": made.get("model_sha256"), **made[SETTINGS]}
    now = {"model": model.sha256, **describe_settings(request, model.card)}
    return [
        f"{name} differ"  # too many to print
        if name == RULES
        else f"{name} was {before.get(name)}, is {now.get(name)}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _read_provenance(output: Path) -> dict[str, Any]:
    """Return the provenance of a GeoPackage of `segment`; empty if there is none."""
    try:
        layers = [str(name) for name, _geometry in pyogrio.list_layers(output)]
        records = [record for layer in layers for record in read_provenance(output, layer=layer)]
    except (DataSourceError, sqlite3.Error, ValueError):
        return {}
    return next((record for record in records if SETTINGS in record), {})
