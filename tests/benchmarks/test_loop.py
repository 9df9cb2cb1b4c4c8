"""The simulated loop: what is annotated in a frame, when a round ends, and its summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.windows import Window

from benchmarks import loop
from geoseg.tools.init import TEMPLATES
from geoseg.training.config import read_config

OUTLINES = np.array([shapely.box(x, 10, x + 8, 18) for x in (2, 22, 36, 70)], object)
POOL = loop.Half(
    Path("pool.tif"), Affine(1, 0, 100, 0, -1, 500), 80, 40,
    np.array(["ship", "ship", "harbor", "ship"], object), OUTLINES,
)  # fmt: skip
LEFT, MIDDLE, RIGHT = (Window(x, 0, 40, 40) for x in (0, 40, 60))


def test_an_object_in_two_frames_is_drawn_once() -> None:
    assert loop.count_polygons(POOL, [LEFT]) == 3
    assert loop.count_polygons(POOL, [LEFT, MIDDLE]) == 4  # the third lies in both
    assert loop.count_polygons(POOL, []) == 0


@pytest.mark.parametrize(("polygons", "frames"), [(1, [LEFT]), (3, [LEFT]), (4, [LEFT, RIGHT])])
def test_frames_are_annotated_until_they_hold_the_wanted_number(
    polygons: int, frames: list[Window]
) -> None:
    state = loop.add_frames(POOL, loop.State((), None), [LEFT, RIGHT, MIDDLE], polygons)
    assert list(state.frames) == frames


def test_outlines_are_clipped_to_the_frames_and_on_the_map() -> None:
    table = POOL.to_table(slice(None), loop.to_box(LEFT))
    assert table["class"].tolist() == ["ship", "ship", "harbor"]
    assert table.geometry.iloc[2].bounds == (136, 482, 140, 490)


def test_a_half_has_the_objects_of_its_rows(tmp_path: Path) -> None:
    import geopandas as gpd

    table = gpd.GeoDataFrame(
        {"category": ["a", "b"]}, geometry=[shapely.box(0, 0, 9, 9), shapely.box(5, 15, 15, 30)]
    )
    pixels = np.zeros((20, 40, 3), np.uint8)
    lower = loop.write_half(tmp_path / "test.tif", pixels, table, 20)
    assert lower.classes.tolist() == ["b"]
    assert lower.outlines[0].bounds == (5, 0, 15, 10)


def test_the_summary_starts_both_ways_with_the_shipped_model() -> None:
    def result(way: str, seed: int, number: int, miou: float) -> dict[str, Any]:
        counts = {"frames": number, "polygons": 10 * number}
        return {"way": way, "seed": seed, "round": number, "miou": miou, "object_f1": 0.5, **counts}

    results = [
        result("shipped", 0, 0, 0.4),
        result("suggested", 0, 1, 0.5), result("suggested", 1, 1, 0.7), result("random", 0, 1, 0.45),
    ]  # fmt: skip
    rows = loop.summarize(results)
    assert [(r["way"], r["round"], r["seeds"], r["miou"]) for r in rows] == [
        ("suggested", 0, 1, 0.4), ("suggested", 1, 2, 0.6), ("random", 0, 1, 0.4), ("random", 1, 1, 0.45),
    ]  # fmt: skip
    table = loop.format_table(rows)
    assert "| suggested | 1 | 2 | 1.0 | 10.0 | 60.0 ± 10.0 | 50.0 ± 0.0 |" in table
    assert "| random | 1 | 1 | 1.0 | 10.0 | 45.0 | 50.0 |" in table  # one seed has no deviation


def test_the_recipe_is_a_valid_configuration() -> None:
    config = read_config(TEMPLATES["finetune"], ["data.dataset=d", *loop.SETTINGS])
    assert config.training.interpolation == ()
    assert config.training.learning_rates == {"fine": 5e-4}
