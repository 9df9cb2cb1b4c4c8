"""Fit models to a few polygons, and score them where nothing was drawn.

*Planes*: of the validation scene of DOTA with the most planes, 24 are drawn in an annotated area; scored are the rest
of this scene, and the two scenes with the next most planes. *Roofs*: 20 of an aerial photograph of the Netherlands are
drawn (``roofs.geojson``); scored are 13 others.

python -m benchmarks.fit DOTA_FOLDER DUTCH_SCENE OUTPUT_FOLDER [--row NAME …] [--set SECTION.KEY=VALUE …]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize

from geoseg import RunOptions, SegmentOutputs, load_model, segment

PLANES = 24
ROOFS = Path(__file__).with_name("roofs.geojson")
CRS = "EPSG:32631"
PIXEL = 0.3
"""Metres, for the scenes of DOTA, whose pixel size is unknown; in the range of the shipped model."""

MATCH = 0.5

WITHOUT_AREA = (
    *("loss.distillation=0.0", "data.unlabelled=0.0", "training.interpolation=[]"),
    *("data.balanced=0.75", "training.steps=300", "training.learning_rate=5e-4"),
    *("training.encoder_learning_rate=1e-4", "loss.logit_adjustment_windows=100"),
)
"""The recipe of earlier versions, in which everything that is not drawn is background."""


@dataclass(frozen=True, slots=True)
class Region:
    """Part of a scene in which a class is annotated completely."""

    name: str
    scene: Path
    objects: gpd.GeoSeries
    area: shapely.Geometry


@dataclass(frozen=True, slots=True)
class Task:
    """Polygons to learn from, and the regions to score."""

    name: str
    scene: Path
    polygons: gpd.GeoDataFrame
    area: shapely.Geometry
    """Annotated area."""

    regions: tuple[Region, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """Scores of a class in a region, 0 to 1."""

    iou: float
    f1: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the rows, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dota", type=Path)
    parser.add_argument("dutch", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--task", action="append", choices=("plane", "roof"), default=[])
    parser.add_argument("--row", action="append", choices=("shipped", "without area", "fit"))
    parser.add_argument("--set", action="append", default=[])
    args = parser.parse_args(arguments)
    args.output.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in args.task or ("plane", "roof"):
        task = draw_planes(args.dota, args.output) if name == "plane" else draw_roofs(args.dutch)
        for row in args.row or ("shipped", "without area", "fit"):
            if (name, row) != ("roof", "shipped"):
                rows.append(run_row(task, row, args.set, args.output))
                print(json.dumps(rows[-1]), flush=True)
    print(format_rows(rows))


def run_row(task: Task, row: str, settings: Sequence[str], folder: Path) -> dict[str, object]:
    """Fit a model, or use the shipped one, and score it."""
    model: Path | None = None
    result: dict[str, object] = {"task": task.name, "row": row}
    if row != "shipped":
        model = folder / f"{task.name}-{row.replace(' ', '-')}.safetensors"
        own = WITHOUT_AREA if row == "without area" else ()
        before, started = _children_seconds(), time.monotonic()
        fit(task, model, [*own, *settings], with_area=row == "fit")
        result |= {
            "wall_s": round(time.monotonic() - started),
            "cpu_s": round(_children_seconds() - before),
        }
    for region in task.regions:
        score = score_region(model, region, task.name, folder)
        result[f"{region.name} IoU"] = round(score.iou, 3)
        result[f"{region.name} F1"] = round(score.f1, 3)
    return result


def fit(task: Task, model: Path, settings: Sequence[str], *, with_area: bool) -> None:
    """Run ``geoseg fit`` as a process of its own."""
    file, area = model.with_suffix(".gpkg"), model.with_name(f"{model.stem}-area.gpkg")
    task.polygons.to_file(file, engine="pyogrio")
    gpd.GeoSeries([task.area], crs=task.polygons.crs).to_file(area, engine="pyogrio")
    command = [sys.executable, "-m", "geoseg", "fit", str(task.scene), "--annotations", str(file)]
    command += ["--annotated-area", str(area)] if with_area else []
    command += ["-o", str(model), "--overwrite", "--dataset", str(model.with_suffix(""))]
    command += [word for setting in settings for word in ("--set", setting)]
    subprocess.run(command, check=True)


def score_region(model: Path | None, region: Region, name: str, folder: Path) -> Score:
    """Segment the scene of a region, and score a class in it by pixels and by objects."""
    labels = folder / "labels.tif"
    objects = segment(
        region.scene,
        folder / "objects.gpkg",
        model=model,
        outputs=SegmentOutputs(labels=labels),
        run=RunOptions(overwrite=True),
    )
    with rasterio.open(labels) as opened:
        found = opened.read(1) == load_model(model).card.legend.id_of(name)
        transform: Affine = opened.transform
    shape = {"out_shape": found.shape, "transform": transform}
    inside = rasterize([region.area], **shape) > 0
    drawn = rasterize(region.objects, **shape) > 0
    common, either = (found & drawn & inside).sum(), ((found | drawn) & inside).sum()
    polygons = gpd.read_file(objects, engine="pyogrio")
    polygons = polygons[polygons["class"] == name].geometry
    polygons = polygons[shapely.within(polygons.representative_point(), region.area)]
    return Score(float(common / max(1, either)), match_polygons(polygons, region.objects))


def match_polygons(found: gpd.GeoSeries, reference: gpd.GeoSeries) -> float:
    """Return the F1 of polygons, each matched at most once, from an IoU of `MATCH` on."""
    a, b = np.asarray(found), np.asarray(reference)
    first, second = shapely.STRtree(b).query(a, predicate="intersects")
    common = shapely.area(shapely.intersection(a[first], b[second]))
    iou = common / (shapely.area(a[first]) + shapely.area(b[second]) - common)
    matched = int((iou > MATCH).sum())  # above 0.5 no polygon matches twice
    return 2 * matched / max(1, len(a) + len(b))


def draw_planes(dota: Path, folder: Path) -> Task:
    """Choose scenes and planes of DOTA's validation split."""
    outlines = gpd.read_parquet(dota / "instances.parquet")
    stems = {path.stem: path for path in (dota / "val" / "images").iterdir()}
    outlines = outlines[outlines["category"] == "plane"]
    outlines = outlines.assign(stem=outlines["image"].map(lambda name: Path(str(name)).stem))
    outlines = outlines[outlines["stem"].isin(stems)]
    first, *others = outlines["stem"].value_counts().index[:3]
    scenes = {stem: write_scene(stems[stem], folder / f"{stem}.tif") for stem in (first, *others)}
    planes = {stem: _to_map(outlines[outlines["stem"] == stem].geometry) for stem in scenes}
    drawn, area = choose_left(planes[first], scenes[first], PLANES)
    rest = _whole(scenes[first]) - area
    regions = [Region("undrawn rest", scenes[first], planes[first][~drawn], rest)]
    regions += [
        Region(f"airport {stem}", scenes[stem], planes[stem], _whole(scenes[stem]))
        for stem in others
    ]
    table = gpd.GeoDataFrame(geometry=planes[first][drawn]).assign(**{"class": "plane"})
    return Task("plane", scenes[first], table, area, tuple(regions))


def choose_left(
    objects: gpd.GeoSeries, scene: Path, count: int
) -> tuple[np.ndarray[tuple[int], np.dtype[np.bool_]], shapely.Geometry]:
    """Choose the leftmost objects, and an area to the left of all others that contains them.

    Objects that the right edge of the area would cut are neither in the area nor chosen.
    """
    bounds = objects.bounds
    order = np.argsort(bounds["maxx"].to_numpy())
    edge = float(bounds["maxx"].to_numpy()[order[count - 1]]) + 2 * PIXEL
    left, bottom, _, top = _whole(scene).bounds
    cut = objects[(bounds["minx"] < edge) & (bounds["maxx"] > edge)]
    area = shapely.box(left, bottom, edge, top) - shapely.union_all(cut.buffer(2 * PIXEL))
    return (bounds["maxx"] <= edge).to_numpy(), area


def draw_roofs(scene: Path) -> Task:
    """Read the roofs."""
    table = gpd.read_file(ROOFS, engine="pyogrio")
    roofs, areas = table[table["class"] == "roof"], table[table["class"] == "area"]
    in_train = roofs["part"] == "train"
    of_train = areas["part"] == "train"
    region = Region(
        "other roofs",
        scene,
        roofs[~in_train].geometry,
        shapely.union_all(areas[~of_train].geometry),
    )
    area = shapely.union_all(areas[of_train].geometry)
    return Task("roof", scene, roofs[in_train][["class", "geometry"]], area, (region,))


def write_scene(image: Path, path: Path) -> Path:
    """Copy an image into a GeoTIFF with a pixel size."""
    with rasterio.open(image) as opened:
        pixels = opened.read()
    profile = {"driver": "GTiff", "count": len(pixels), "dtype": pixels.dtype, "crs": CRS}
    height, width = pixels.shape[1:]
    with rasterio.open(
        path, "w", height=height, width=width, transform=_transform(), tiled=True, **profile
    ) as made:
        made.write(pixels)
    return path


def format_rows(rows: Sequence[dict[str, object]]) -> str:
    """Return a Markdown table."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["--"] * len(columns)]
    lines += [[str(row.get(column, "")) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _transform() -> Affine:
    return Affine(PIXEL, 0, 500_000, 0, -PIXEL, 5_000_000)


def _to_map(outlines: gpd.GeoSeries) -> gpd.GeoSeries:
    return outlines.affine_transform(_transform().to_shapely()).set_crs(CRS, allow_override=True)


def _whole(scene: Path) -> shapely.Geometry:
    with rasterio.open(scene) as opened:
        return shapely.box(*opened.bounds)


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
