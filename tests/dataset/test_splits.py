"""Splits by list, by name and by ground."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.windows import Window

from geoseg.annotations.burn import OUTLINES, Annotations
from geoseg.annotations.validation import ValidationReport
from geoseg.dataset.folder import Dataset
from geoseg.dataset.sources import SourceScene, is_located
from geoseg.dataset.split import choose_validation, split_by_blocks, split_by_share
from geoseg.errors import ConfigError, DatasetError, SceneError, SkippedInputsError
from geoseg.legend import DOTA_V1
from geoseg.options import PrepareOptions
from geoseg.raster.scene import SceneInfo
from tests.calls import prepare
from tests.dataset.issues import count_issues
from tests.dota_folder import PLANE, SHIP, add

# --- by list ------------------------------------------------------------------------------------


def listed(folder: Path, text: str) -> Path:
    path = folder / "splits.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("tab", [",", "\t", ";"])
def test_a_list_assigns_scenes_to_splits(tmp_path: Path, tab: str) -> None:
    for name in ("a", "b", "c"):
        add(tmp_path / "dota", name)
    text = "\n".join(
        line.replace(",", tab) for line in ["split,scene", "test,a", "val,b.png", "x,c"]
    )
    out = prepare(tmp_path / "dota", tmp_path / "out", split_list=listed(tmp_path, text))
    assert {s.name: s.split for s in Dataset.open(out).scenes} == {
        "a": "test",
        "b": "val",
        "c": "x",
    }


def test_a_scene_that_is_not_listed_is_rejected_and_an_unknown_name_is_reported(
    tmp_path: Path,
) -> None:
    add(tmp_path / "dota", "a")
    add(tmp_path / "dota", "b")
    path = listed(tmp_path, "scene,split\na,train\nelsewhere,val\n")
    with pytest.raises(SceneError, match=r"b\.png: b is not in .*splits\.csv"):
        prepare(tmp_path / "dota", tmp_path / "out", split_list=path)
    with pytest.raises(SkippedInputsError):
        prepare(tmp_path / "dota", tmp_path / "out", split_list=path, skip_bad=True)
    assert [s.name for s in Dataset.open(tmp_path / "out").scenes] == ["a"]
    assert count_issues(tmp_path / "out", "listed scene not found", "left out") == {"": 1}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name,split\na,b\n", "splits.csv:1: must name the columns scene and split"),
        ("scene,split\na,\n", "splits.csv:2: scene or split is empty"),
        ("scene,split\na,x\na,y\n", "splits.csv:3: a is already in x"),
        ("scene,split\na,../x\n", r"splits.csv:2: split '\.\./x' is not a folder name"),
        ("scene,split\n", "splits.csv: no scenes"),
    ],
)
def test_an_invalid_list_is_refused(tmp_path: Path, text: str, why: str) -> None:
    add(tmp_path / "dota", "a")
    with pytest.raises(ConfigError, match=why):
        prepare(tmp_path / "dota", tmp_path / "out", split_list=listed(tmp_path, text))


# --- by name ------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.from_regex("P[0-9]{4}", fullmatch=True), st.integers(1, 9), min_size=2),
    st.floats(0.01, 0.99),
)
def test_windows_of_one_scene_are_in_the_same_split(scenes: dict[str, int], share: float) -> None:
    names = [f"{s}__1__{824 * n}___0" for s, count in scenes.items() for n in range(count)]
    splits = split_by_share(names, share)
    assert set(splits) == set(names)
    assert set(splits.values()) == {"train", "val"}
    for scene in scenes:
        assert len({splits[name] for name in names if name.startswith(f"{scene}__")}) == 1


# --- by ground ----------------------------------------------------------------------------------


def scene(name: str, left: int, top: int, width: int, height: int, objects: int = 0) -> SourceScene:
    """A scene on a common grid of one unit a pixel, y down as its pixels."""
    place = Affine.translation(left, top)
    info = SceneInfo(Path(name), width, height, 3, "uint8", None, place, None, None)
    rng = np.random.default_rng(left + width)
    corner = rng.uniform(0, (width, height), (objects, 2))
    shapes = np.array([shapely.box(x, y, x + 9, y + 9) for x, y in corner], object)
    truth = Annotations(
        shapes, rng.integers(1, 4, objects).astype(np.uint8), np.zeros(objects, bool)
    )
    return SourceScene(
        name, None, info, {OUTLINES: truth}, DOTA_V1, {OUTLINES: Path("t")}, is_located(info)
    )


def ground(part: SourceScene) -> tuple[float, float, float, float]:
    left, top = part.image.transform.c, part.image.transform.f
    return left, top, left + part.image.width, top + part.image.height


def apart(one: SourceScene, other: SourceScene) -> float:
    """Pixels between two windows, along the axis on which they are further apart; below 0 they overlap."""
    a, b = ground(one), ground(other)
    return max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])


placed = st.tuples(
    st.integers(1, 600), st.integers(1, 600), st.integers(40, 400), st.integers(40, 400)
)


@settings(max_examples=60)
@given(
    st.lists(placed, min_size=1, max_size=4),
    st.integers(32, 150),
    st.integers(0, 40),
    st.floats(0.05, 0.6),
)
def test_no_window_of_any_size_sees_ground_that_is_nearer_to_the_other_split_than_the_gap(
    boxes: list[tuple[int, int, int, int]], block: int, gap: int, share: float
) -> None:
    scenes = [scene(f"s{n}", *box, objects=12) for n, box in enumerate(boxes)]
    try:
        parts = split_by_blocks(
            scenes, PrepareOptions(block=block, gap=gap, val_share=share), ValidationReport()
        )
    except DatasetError:  # all scenes overlap, or the gap leaves no validation block
        return
    train = [part for part in parts if part.split == "train"]
    val = [part for part in parts if part.split == "val"]
    assert train
    assert val
    for one in train:
        for other in val:
            assert apart(one, other) >= gap
    # training reads windows of a part only, and a part covers this ground of its scene only
    for part in parts:
        whole = next(s for s in scenes if s.path == part.path)
        window = part.window or Window(0, 0, whole.image.width, whole.image.height)
        assert (window.width, window.height) == (part.image.width, part.image.height)
        assert whole.image.transform @ (window.col_off, window.row_off) == ground(part)[:2]


def test_the_gap_trims_validation_blocks_only_and_is_reported() -> None:
    report = ValidationReport()
    whole = scene("s", 1, 1, 400, 400, objects=40)
    without = split_by_blocks([whole], PrepareOptions(block=100), ValidationReport())
    with_gap = split_by_blocks([whole], PrepareOptions(block=100, gap=10), report)
    for before, after in zip(without, with_gap, strict=True):
        assert before.name == after.name
        assert before.split == after.split
        if after.split == "train":
            assert ground(before) == ground(after)
    assert {finding.kind for finding in report} == {"block trimmed by the gap"}


def test_a_gap_that_leaves_nothing_to_validate_is_refused() -> None:
    whole = scene("s", 1, 1, 400, 400, objects=40)
    with pytest.raises(DatasetError, match="Use a smaller --gap"):
        split_by_blocks([whole], PrepareOptions(block=100, gap=300), ValidationReport())


@pytest.mark.parametrize(("side", "blocks"), [(128, 4), (256, 4), (400, 4), (512, 4), (2048, 16)])
def test_a_small_scene_is_cut_into_four_blocks(side: int, blocks: int) -> None:
    parts = split_by_blocks(
        [scene("s", 1, 1, side, side, objects=40)], PrepareOptions(), ValidationReport()
    )
    assert len(parts) == blocks
    assert {part.split for part in parts} == {"train", "val"}


def test_a_scene_that_is_too_small_for_blocks_is_refused() -> None:
    with pytest.raises(DatasetError, match="too small to leave a part for validation"):
        split_by_blocks([scene("s", 1, 1, 80, 80)], PrepareOptions(), ValidationReport())


def test_scenes_that_do_not_overlap_and_have_no_place_share_no_ground() -> None:
    bare = [scene(f"s{n}", 0, 0, 100, 100) for n in range(9)]
    splits = [part.split for part in split_by_blocks(bare, PrepareOptions(), ValidationReport())]
    assert splits.count("val") == 2


def test_a_folder_of_dota_can_be_cut_into_blocks_too(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [SHIP], width=200, height=160)
    out = prepare(tmp_path / "dota", tmp_path / "out", block=50)
    dataset = Dataset.open(out)
    assert len(dataset.scenes) == 12
    assert dataset.splits == ("train", "val")
    assert dataset.layers["quads"].pixels["ship"] == 40 * 14
    with pytest.raises(ConfigError, match="Leave out --block"):
        prepare(
            tmp_path / "dota",
            tmp_path / "two",
            block=50,
            split_list=listed(tmp_path, "scene,split\na,train\n"),
        )


presence = arrays(bool, st.tuples(st.integers(2, 30), st.integers(1, 8)))


@settings(max_examples=60, deadline=None)
@given(presence, st.floats(0.05, 0.5), st.integers(0, 99))
def test_classes_in_two_groups_are_in_both_splits_as_far_as_any_division_allows(
    present: NDArray[np.bool_], target: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    amount = np.where(present, rng.uniform(0.1, 1, present.shape), 0)
    amount = np.column_stack([np.ones(len(present)), amount])
    shares = amount / np.maximum(amount.sum(axis=0), 1e-9)
    chosen = choose_validation(shares, target)
    assert 0 < chosen.sum() < len(chosen)
    divisible = present[:, present.sum(axis=0) > 1]

    def count_missing(choice: NDArray[np.bool_]) -> int:
        return int((~divisible[choice].any(axis=0) | ~divisible[~choice].any(axis=0)).sum())

    if len(present) <= 8:  # compare all divisions
        numbers = np.arange(1, 2 ** len(present) - 1)
        every = (numbers[:, None] >> np.arange(len(present)) & 1).astype(bool)
        assert count_missing(chosen) == min(map(count_missing, every))
    for changed in chosen ^ np.eye(len(chosen), dtype=bool):
        assert changed.all() or not changed.any() or count_missing(changed) >= count_missing(chosen)


def test_classes_that_are_missing_in_a_split_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, things in (("a", [SHIP]), ("b", [PLANE]), ("c", [PLANE])):
        add(tmp_path / "dota", name, things, width=200, height=160)
    (tmp_path / "splits.csv").write_text("scene,split\na,train\nb,train\nc,val\n")
    with caplog.at_level("WARNING"):
        out = prepare(tmp_path / "dota", tmp_path / "out", split_list=tmp_path / "splits.csv")
    (warning,) = [r.message for r in caplog.records if "no object in" in r.message]
    assert warning.startswith("no object in val of: ship.")
    findings = json.loads((out / "report.json").read_text())["findings"]
    assert [f["note"] for f in findings if f["kind"] == "class missing in a split"] == [
        "ship, not in val"
    ]
