"""Suggest which frames of a scene to annotate next."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import transform_geometry
from geoseg.annotations.frames import (
    FrameContent,
    RankedFrame,
    choose_frame_size,
    describe_reason,
    frame_grid,
    measure_frame,
    rank_frames,
)
from geoseg.errors import ConfigError, OutputError, SceneError
from geoseg.files import ScenePath, check_output, replacing, scene_path
from geoseg.inference.memory import memory_limit
from geoseg.inference.plan import PlanSettings, plan_scene, select_area
from geoseg.inference.predictor import ModelSpec, create_predictor, open_model
from geoseg.inference.reader import SceneSpec, open_scenes
from geoseg.inference.run import LABELS, UNCERTAINTY, predict_rasters
from geoseg.legend import IGNORE, Legend
from geoseg.models.runtime import choose_device
from geoseg.options import (
    ComputeOptions,
    SceneOptions,
    StrPath,
    SuggestOptions,
    TilingOptions,
    as_path,
)
from geoseg.polygons.styles import frame_style_qml
from geoseg.polygons.table import GEOMETRY
from geoseg.polygons.writers.gpkg import NO_CRS, store_style
from geoseg.progress import Track, silent
from geoseg.raster.aoi import AreaOfInterest, read_aoi
from geoseg.raster.georeference import map_transform, on_one_grid
from geoseg.raster.labels import (
    ConfidenceFile,
    LabelFile,
    open_confidence,
    open_labels,
    read_class_ids,
    read_legend,
)
from geoseg.raster.mosaic import Mosaic
from geoseg.raster.scene import Scene, SceneInfo

LAYER = "frames"
"""Name of the layer of frames."""

log = logging.getLogger(__name__)


def suggest(
    scene: StrPath,
    output: StrPath,
    *,
    model: StrPath | None = None,
    source: SceneOptions = SceneOptions(),
    tiling: TilingOptions = TilingOptions(),
    compute: ComputeOptions = ComputeOptions(),
    options: SuggestOptions = SuggestOptions(),
    track: Track = silent,
) -> Path:
    """Suggest which frames of a scene to annotate next.

    Parameters
    ----------
    scene
        Raster file.
    output
        GeoPackage to write. Its layer ``frames`` has polygons with the columns ``rank`` (1 for the first to annotate),
        ``uncertainty`` (mean, 0 to 1), ``classes`` (predicted ones, that with most pixels first) and ``reason``.
    model
        Model file. Default: the shipped model. It is not opened if `options` has the rasters of its prediction.
    source
        Bands, pixel size and area to read.
    tiling, compute
        As for `geoseg.segment`, but without an executor.
    options
        Number and size of frames, the area that is annotated already, and rasters of an earlier prediction.
    track
        Progress of an iterable.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    ConfigError, SceneError, AnnotationError, ModelError, OutputError

    Notes
    -----
    `geoseg.annotations.frames.rank_frames` has the formula. The result is deterministic, and memory does not grow
    with the scene but for a few numbers per frame.
    """
    file, target = scene_path(scene), Path(output)
    _check_products(file, target, as_path(model), options)
    with ExitStack() as stack:
        near = target.absolute().parent
        folder = Path(stack.enter_context(TemporaryDirectory(prefix=".geoseg-", dir=near)))
        if options.labels:
            prediction = _open_prediction(stack, file, source, options)
        else:
            request = _Request(file, as_path(model), source, tiling, compute)
            prediction = _predict(stack, request, folder, track)
        info, annotated = prediction.scene.info, None
        if path := as_path(options.annotated_area):
            annotated = read_aoi(path, info.crs, info.transform, (info.width, info.height))
            if not annotated.geometry.intersects(shapely.box(0, 0, info.width, info.height)):
                log.warning(
                    "%s: nothing of it is on %s. Check that it is of this scene", path, file
                )
        size = options.size or choose_frame_size(
            info.width, info.height, options.frames, largest=prediction.frame_size
        )
        windows = frame_grid(info.width, info.height, size)
        contents = [prediction.measure(w, annotated) for w in track(windows, "measure frames")]
    candidates, known = zip(*contents, strict=True)
    ranked = rank_frames(candidates, known, options.frames)
    _check_number(ranked, options, file)
    table = _build_table(ranked, windows, candidates, info, prediction.legend)
    _write_frames(target, table, overwrite=options.overwrite)
    return target


@dataclass(frozen=True, slots=True)
class _Request:
    """What is to be predicted."""

    file: ScenePath
    model: Path | None
    source: SceneOptions
    tiling: TilingOptions
    compute: ComputeOptions


@dataclass(frozen=True, slots=True)
class _Prediction:
    """A scene, and rasters of what a model predicted for it, open."""

    scene: Scene | Mosaic
    labels: LabelFile
    uncertainty: ConfidenceFile
    legend: Legend

    area: AreaOfInterest | None
    """Area in which frames are wanted, unless the rasters have nodata outside of it."""

    frame_size: int = 512
    """Largest default side of frames, in pixels of the scene."""

    def measure(
        self, window: Window, annotated: AreaOfInterest | None
    ) -> tuple[FrameContent, FrameContent]:
        """Return the content of a frame outside of the annotated area, and inside."""
        pixels, valid = self.scene.read(window)
        labels = read_class_ids(self.labels, self.legend, window)
        uncertainty = self.uncertainty.read(window)
        counted = valid & (uncertainty != IGNORE) & (labels != IGNORE)
        if self.area is not None:
            counted &= self.area.rasterize(window)
        inside: NDArray[np.bool_] = np.zeros_like(counted)
        if annotated is not None:
            inside = counted & annotated.rasterize(window)
        classes = len(self.legend)
        outside, known = (
            measure_frame(pixels, labels, uncertainty, chosen, classes)
            for chosen in (counted & ~inside, inside)
        )
        return outside, known


def _check_products(
    file: ScenePath, output: Path, model: Path | None, options: SuggestOptions
) -> None:
    if output.suffix.lower() != ".gpkg":
        raise ConfigError(f"{output}: frames are written to a GeoPackage. Name it .gpkg")
    rasters = [as_path(options.labels), as_path(options.uncertainty)]
    if rasters.count(None) == 1:
        raise ConfigError(
            f"{rasters[0] or rasters[1]}: --labels and --uncertainty are needed together. Pass both, or none"
        )
    inputs = [file, model, as_path(options.annotated_area), *rasters]
    files = [given for given in inputs if isinstance(given, Path) and given.exists()]
    if output.exists() and any(output.samefile(given) for given in files):
        raise OutputError(f"{output}: is one of the inputs. Choose another name")
    check_output(output, overwrite=options.overwrite)


def _predict(stack: ExitStack, request: _Request, folder: Path, track: Track) -> _Prediction:
    """Predict a scene into rasters in a folder, and open them; they stay open with the stack."""
    compute = request.compute
    spec = ModelSpec(
        request.model, as_path(compute.card), choose_device(compute.device), compute.backend,
        tta=compute.tta, uncertainty=True,
    )  # fmt: skip
    model = open_model(spec)
    limit = memory_limit(spec.device)
    settings = PlanSettings(model, spec, request.source, request.tiling, limit)
    scenes = stack.enter_context(open_scenes([request.file]))
    plan = plan_scene(settings, (request.file,), scenes)
    predictor = create_predictor(spec, model)
    reader = scenes.reader(plan.scene)
    rasters = predict_rasters(
        plan, reader, predictor, folder, model.card,
        batch_size=request.tiling.batch_size, track=track,
    )  # fmt: skip
    labels = stack.enter_context(open_labels(rasters[LABELS]))
    uncertainty = stack.enter_context(open_confidence(rasters[UNCERTAINTY], labels, UNCERTAINTY))
    side = round(512 * sqrt(plan.scene.scale[0] * plan.scene.scale[1]))
    opened = scenes.open(plan.scene)
    return _Prediction(opened, labels, uncertainty, model.card.legend, None, side)


def _open_prediction(
    stack: ExitStack, file: ScenePath, source: SceneOptions, options: SuggestOptions
) -> _Prediction:
    """Open rasters of an earlier prediction of a scene; they stay open with the stack."""
    paths = as_path(options.labels), as_path(options.uncertainty)
    assert paths[0] is not None and paths[1] is not None
    labels = stack.enter_context(open_labels(paths[0]))
    uncertainty = stack.enter_context(open_confidence(paths[1], labels, UNCERTAINTY))
    scenes = stack.enter_context(open_scenes([file]))
    scene = scenes.open(SceneSpec((file,), source.bands, allow_vrt=source.allow_vrt))
    info = scene.info
    grid = labels.dataset.transform
    if labels.shape != (info.height, info.width) or not on_one_grid(
        info.transform, grid, width=info.width, height=info.height
    ):
        raise SceneError(f"{paths[0]}: is not on the grid of {file}. Use the labels of this scene")
    area = select_area(source, info)
    return _Prediction(scene, labels, uncertainty, read_legend(labels), area)


def _check_number(ranked: Sequence[RankedFrame], options: SuggestOptions, file: ScenePath) -> None:
    if not ranked:
        raise SceneError(
            f"{file}: no frame is left: each is nodata or annotated for the most part. "
            "Use a smaller --size, or another scene"
        )
    if len(ranked) < options.frames:
        log.warning("%s: only %d frames are left. Use a smaller --size", file, len(ranked))


def _build_table(
    ranked: Sequence[RankedFrame],
    windows: Sequence[Window],
    candidates: Sequence[FrameContent],
    info: SceneInfo,
    legend: Legend,
) -> gpd.GeoDataFrame:
    chosen = [windows[frame.index] for frame in ranked]
    boxes = [
        shapely.box(w.col_off, w.row_off, w.col_off + w.width, w.row_off + w.height) for w in chosen
    ]
    mean = float(np.mean([frame.uncertainty for frame in candidates if frame.share]))
    return gpd.GeoDataFrame(
        {
            "rank": np.arange(1, len(ranked) + 1, dtype=np.int32),
            "uncertainty": [round(frame.uncertainty, 3) for frame in ranked],
            "classes": [", ".join(legend[c].name for c in frame.classes) for frame in ranked],
            "reason": [describe_reason(frame, mean, legend.names) for frame in ranked],
        },
        geometry=transform_geometry(np.array(boxes, object), map_transform(info.transform)),
        crs=info.crs.to_wkt() if info.crs else None,
    )


def _write_frames(output: Path, table: gpd.GeoDataFrame, *, overwrite: bool) -> None:
    layer_options = {"GEOMETRY_NAME": GEOMETRY, "IDENTIFIER": "frames to annotate"}
    if table.crs is None:
        layer_options["SRID"] = str(NO_CRS)
    with replacing(output, overwrite=overwrite) as scratch:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'crs' was not provided")
            table.to_file(
                scratch,
                layer=LAYER,
                driver="GPKG",
                engine="pyogrio",
                index=False,
                geometry_type="Polygon",
                dataset_options={"VERSION": "1.2"},
                layer_options=layer_options,
            )
        store_style(scratch, frame_style_qml(), layer=LAYER)
