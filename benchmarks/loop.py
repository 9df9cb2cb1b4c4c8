"""Simulate annotation in rounds: frames that `geoseg suggest` ranks, against frames drawn at random.

    python -m benchmarks.loop DOTA -o FOLDER

DOTA has ``val/images`` and ``instances.parquet``. A scene is divided into two halves. In the upper one, frames are
annotated; the lower one is scored, and nothing of it is ever annotated. In each round, whole frames are added until
they hold the wanted number of polygons (`--polygons`, doubled every round). The oracle draws the outlines of all
objects in a frame. Training continues from the model of the round before, on all frames so far, for a fixed number of
steps, which is independent of the load of the machine. Both ways start with the shipped model.

Every round of every seed is a line in ``results.jsonl``; the same command continues an interrupted run. At the end
``results.json`` has the means, and ``loop.png`` shows them.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.windows import Window

import geoseg
from geoseg.annotations.burn import OUTLINES, transform_geometry
from geoseg.annotations.frames import frame_grid
from geoseg.dataset.folder import Dataset
from geoseg.legend import IGNORED
from geoseg.models.model_file import ModelCard, write_card
from geoseg.options import BatchOptions, PrepareOptions, SuggestOptions, TrainOptions
from geoseg.tools.init import TEMPLATES

WAYS = ("suggested", "random")

SETTINGS = (
    "data.balanced=0.6",
    "data.unlabelled=0.25",
    "loss.dice=0.0",
    "loss.distillation=1",
    "loss.logit_adjustment_windows=0",
    "training.encoder_learning_rate=5e-5",
    "training.learning_rates={fine=5e-4}",
    "training.interpolation=[]",
    "training.warmup=5",
)
"""Recipe of the training: outside the frames, it is distilled from the model of the round before. Unlike `geoseg fit`,
it has neither Dice loss nor interpolation."""

CHECK = 256
"""Side of the crop of the upper half on which a training validates once, at its end."""

_FEWEST_OBJECTS = 5
"""Objects in the lower half from which on a class counts in the mean IoU."""

_MIN_PIXELS = 16
"""Smallest part of an object in a frame that counts as a polygon."""


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a scene as a GeoTIFF in local coordinates, and its objects."""

    path: Path
    transform: Affine
    width: int
    height: int

    classes: NDArray[np.object_]
    """(n,) names."""

    outlines: NDArray[np.object_]
    """(n,) polygons in pixels."""

    def to_table(self, index: Any, area: shapely.Geometry) -> gpd.GeoDataFrame:
        """Return objects, clipped to an area in pixels, in map coordinates."""
        clipped = shapely.intersection(self.outlines[index], area)
        kept = shapely.area(clipped) >= _MIN_PIXELS
        return gpd.GeoDataFrame(
            {"class": self.classes[index][kept]},
            geometry=transform_geometry(clipped[kept], self.transform),
        )


@dataclass(frozen=True, slots=True)
class State:
    """What a simulated person has after a round."""

    frames: tuple[Window, ...]
    model: Path | None


def read_halves(dota: Path, name: str, folder: Path) -> tuple[Half, Half]:
    """Write the upper and the lower half of a scene, and return them with their outlines."""
    pixels = np.asarray(Image.open(dota / "val" / "images" / f"{name}.jpg").convert("RGB"))
    table = gpd.read_parquet(dota / "instances.parquet")
    table = table[(table["split"] == "val") & (table["image"] == name)]
    middle = pixels.shape[0] // 2
    upper, lower = (
        write_half(folder / f"{part}.tif", pixels[rows], table, rows.start or 0)
        for part, rows in (("pool", slice(0, middle)), ("test", slice(middle, None)))
    )
    return upper, lower


def write_half(path: Path, pixels: NDArray[np.uint8], table: gpd.GeoDataFrame, top: int) -> Half:
    """Write rows of a scene from `top` on, and return them with the objects that lie there."""
    height, width = pixels.shape[:2]
    transform = Affine(1, 0, 100, 0, -1, 100_000 - 10_000 * (top > 0))
    write_raster(path, pixels, transform)
    outlines = transform_geometry(table.geometry.to_numpy(), Affine.translation(0, -top))
    outlines = shapely.intersection(shapely.make_valid(outlines), shapely.box(0, 0, width, height))
    here = shapely.area(outlines) >= _MIN_PIXELS
    classes = table["category"].to_numpy(object)[here]
    return Half(path, transform, width, height, classes, outlines[here])


def write_raster(path: Path, pixels: NDArray[np.uint8], transform: Affine) -> None:
    """Write (h, w, 3) pixels as a GeoTIFF without CRS."""
    height, width, bands = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=bands, dtype="uint8",
        transform=transform, tiled=True, photometric="RGB",
    ) as raster:  # fmt: skip
        raster.write(np.moveaxis(pixels, -1, 0))


def to_box(window: Window) -> shapely.Polygon:
    """Return a window as a polygon in pixels."""
    left, top = window.col_off, window.row_off
    return shapely.box(left, top, left + window.width, top + window.height)


def save(table: gpd.GeoDataFrame, path: Path) -> Path:
    """Write a layer, replacing the file."""
    path.unlink(missing_ok=True)
    table.to_file(path, driver="GPKG", engine="pyogrio")
    return path


def order_frames(
    way: str, pool: Half, state: State, size: int, rng: np.random.Generator, folder: Path
) -> list[Window]:
    """Return the frames that are not annotated yet, the first to annotate first."""
    grid = frame_grid(pool.width, pool.height, size)
    free = [window for window in grid if window not in state.frames]
    if way == "random":
        return [free[n] for n in rng.permutation(len(free))]
    done = None
    if state.frames:
        boxes = np.array([to_box(w) for w in state.frames], object)
        table = gpd.GeoDataFrame(geometry=transform_geometry(boxes, pool.transform))
        done = save(table, folder / "annotated.gpkg")
    options = SuggestOptions(frames=len(grid), size=size, annotated_area=done, overwrite=True)
    ranked = gpd.read_file(
        geoseg.suggest(pool.path, folder / "frames.gpkg", model=state.model, options=options)
    )
    centres = transform_geometry(ranked.geometry.centroid.to_numpy(), ~pool.transform)
    return [next(w for w in free if to_box(w).contains(centre)) for centre in centres]


def add_frames(pool: Half, state: State, order: Iterable[Window], polygons: int) -> State:
    """Annotate frames in order until they hold `polygons` polygons together."""
    frames = list(state.frames)
    for window in order:
        if count_polygons(pool, frames) >= polygons:
            break
        frames.append(window)
    return replace(state, frames=tuple(frames))


def count_polygons(pool: Half, frames: Sequence[Window]) -> int:
    """Count what a person draws in frames; an object in two frames is drawn once."""
    area = shapely.union_all([to_box(window) for window in frames])
    return int((shapely.area(shapely.intersection(pool.outlines, area)) >= _MIN_PIXELS).sum())


def annotate(pool: Half, frames: Sequence[Window], folder: Path) -> Path:
    """Write a dataset of the upper half: objects in the frames, and class *ignore* around them."""
    area = shapely.union_all([to_box(window) for window in frames])
    table = pool.to_table(slice(None), area)
    rest = shapely.box(0, 0, pool.width, pool.height) - area
    ignored = transform_geometry(np.array([rest], object), pool.transform)
    table = gpd.GeoDataFrame(
        {"class": [*table["class"], IGNORED]}, geometry=[*table.geometry, *ignored]
    )
    crop, corner = cut_check(pool, folder.parent / "check.tif")
    box = to_box(Window(*corner, CHECK, CHECK))
    own = pool.to_table(slice(None), box)
    shift = Affine.translation(500_000 - corner[0], corner[1])
    moved = transform_geometry(own.geometry.to_numpy(), shift)
    table = gpd.GeoDataFrame(
        {"class": [*table["class"], *own["class"]]}, geometry=[*table.geometry, *moved]
    )
    return prepare(
        [pool.path, crop], save(table, folder / "annotations.gpkg"), folder / "dataset",
        {pool.path.stem: "train", crop.stem: "val"},
    )  # fmt: skip


def cut_check(pool: Half, path: Path) -> tuple[Path, tuple[int, int]]:
    """Write the crop with most objects at another place on the map; return it and its column and row."""
    grid = [
        w for w in frame_grid(pool.width, pool.height, CHECK) if min(w.width, w.height) == CHECK
    ]
    best = max(grid, key=lambda w: count_polygons(pool, [w]))
    if not path.exists():
        with rasterio.open(pool.path) as raster:
            pixels = np.moveaxis(raster.read(window=best), 0, -1)
        write_raster(path, pixels, pool.transform @ Affine.translation(500_000, 0))
    return path, (best.col_off, best.row_off)


def prepare(
    scenes: Sequence[Path], annotations: Path, folder: Path, splits: dict[str, str]
) -> Path:
    """Write a dataset with the classes of the shipped model."""
    listed = annotations.with_suffix(".csv")
    with listed.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("scene", "split"), *splits.items()])
    options = PrepareOptions(legend="shipped", split_list=listed)
    return geoseg.prepare_scenes(
        scenes, folder, annotations=annotations, options=options, run=BatchOptions(overwrite=True)
    )


def train(state: State, dataset: Path, model: Path, *, steps: int, seed: int) -> Path:
    """Train on all annotations so far, from the model of the round before."""
    config = geoseg.read_config(
        TEMPLATES["finetune"],
        [
            f"data.dataset={dataset}",
            f"network.pretrained={state.model or 'shipped'}",
            f"data.window={CHECK}",
            f"training.steps={steps}",
            f"training.validate_every={steps}",
            f"training.seed={seed}",
            *SETTINGS,
        ],
    )
    geoseg.train(config, model, options=TrainOptions(overwrite=True))
    shipped = geoseg.load_model()
    trained = geoseg.load_model(model)

    def inherit(card: ModelCard) -> ModelCard:
        return replace(card, objects=shipped.card.objects, margin=shipped.card.margin)

    write_card(trained, inherit)
    return model


def score(test: Path, model: Path | None) -> dict[str, Any]:
    """Score a model on the lower half: mean IoU of the classes with some objects there, and object F1 of all."""
    (found,) = geoseg.evaluate(test, model=model)
    counts = Dataset.open(test).layers[OUTLINES].objects
    iou = {
        item.name: round(float(found.scores.iou[item.id]), 4)
        for item in found.legend.objects
        if counts[item.name] >= _FEWEST_OBJECTS
    }
    mean = round(float(np.mean(list(iou.values()))), 4)
    return {"miou": mean, "object_f1": found.to_json()["objects"]["f1"], "iou": iou}


def run_rounds(
    way: str,
    seed: int,
    halves: tuple[Half, Half],
    test: Path,
    options: argparse.Namespace,
    rounds: int,
) -> None:
    """Simulate rounds of one way and seed that have no results yet, and append their scores."""
    pool, folder = halves[0], options.output / f"{way}-{seed}"
    folder.mkdir(exist_ok=True)
    done = {
        r["round"]: r for r in read_results(options.output) if (r["way"], r["seed"]) == (way, seed)
    }
    state = State((), None)
    for number in range(1, rounds + 1):
        model = folder / f"round{number}.safetensors"
        if number in done:
            state = State(tuple(Window(*w) for w in done[number]["windows"]), model)
            continue
        start = time.monotonic()
        rng = np.random.default_rng([seed, number])
        order = order_frames(way, pool, state, options.frame, rng, folder)
        budget = options.polygons * 2 ** (number - 1)
        state = add_frames(pool, state, order, budget)
        seconds = time.monotonic() - start
        dataset = annotate(pool, state.frames, folder)
        train(state, dataset, model, steps=options.steps, seed=seed)
        state = replace(state, model=model)
        record = {
            "way": way, "seed": seed, "round": number, "frames": len(state.frames),
            "polygons": count_polygons(pool, state.frames), **score(test, model),
            "choose_s": round(seconds, 1), "all_s": round(time.monotonic() - start, 1),
            "windows": [w.flatten() for w in state.frames],
        }  # fmt: skip
        append_result(options.output, record)


def append_result(folder: Path, record: dict[str, Any]) -> None:
    """Append a line to the results, and show it."""
    with (folder / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    shown = {key: value for key, value in record.items() if key != "windows"}
    print(json.dumps(shown), flush=True)


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read the results so far."""
    path = folder / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def summarize(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return mean and standard deviation over the seeds, by way and round."""
    rows = []
    for way in WAYS:
        for number in sorted({r["round"] for r in results if r["way"] in (way, "shipped")}):
            found = [
                r for r in results
                if r["round"] == number and r["way"] == ("shipped" if number == 0 else way)
            ]  # fmt: skip
            row: dict[str, Any] = {"way": way, "round": number, "seeds": len(found)}
            for key in ("frames", "polygons", "miou", "object_f1"):
                values = [r[key] for r in found]
                row[key] = round(float(np.mean(values)), 4)
                row[f"{key}_sd"] = round(float(np.std(values)), 4)
            rows.append(row)
    return rows


def format_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table."""
    lines = ["| chosen | round | seeds | frames | polygons | mIoU, % | object F1, % |",
             "| :-- | --: | --: | --: | --: | --: | --: |"]  # fmt: skip
    for row in rows:
        scores = (
            f"{100 * row[key]:.1f}"
            + (f" ± {100 * row[f'{key}_sd']:.1f}" if row["seeds"] > 1 else "")
            for key in ("miou", "object_f1")
        )
        lines.append(
            f"| {row['way']} | {row['round']} | {row['seeds']} | {row['frames']:.1f} | "
            f"{row['polygons']:.1f} | {' | '.join(scores)} |"
        )
    return "\n".join(lines)


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw both scores against the number of polygons."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    titles = {"miou": "mIoU, %", "object_f1": "object F1, %"}
    for axes, (key, title) in zip(figure.subplots(1, 2), titles.items(), strict=True):
        for way, colour in zip(WAYS, ("#d6336c", "#495057"), strict=True):
            own = [row for row in rows if row["way"] == way]
            axes.errorbar(
                [row["polygons"] for row in own], [100 * row[key] for row in own],
                [100 * row[f"{key}_sd"] for row in own],
                color=colour, marker="o", capsize=3, label=f"{way} frames",
            )  # fmt: skip
        axes.set_xlabel("annotated polygons")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("dota", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--scene", default="S0187")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--polygons", type=int, default=25, help="in the first round")
    parser.add_argument("--frame", type=int, default=192, help="side of a frame in pixels")
    parser.add_argument("--steps", type=int, default=40, help="of training in each round")
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    halves = read_halves(options.dota, options.scene, options.output)
    lower = halves[1]
    table = lower.to_table(slice(None), shapely.box(0, 0, lower.width, lower.height))
    outlines = save(table, options.output / "test.gpkg")
    test = options.output / "test"
    if not test.exists():
        prepare([lower.path], outlines, test, {lower.path.stem: "val"})
    if not read_results(options.output):
        start = {"way": "shipped", "seed": 0, "round": 0, "frames": 0, "polygons": 0, "windows": []}
        append_result(options.output, start | score(test, None))
    for rounds in range(1, options.rounds + 1):
        for seed in range(options.seeds):
            for way in WAYS:
                run_rounds(way, seed, halves, test, options, rounds)
    rows = summarize(read_results(options.output))
    (options.output / "results.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    draw(rows, options.output / "loop.png")
    print(format_table(rows))


if __name__ == "__main__":
    main()
