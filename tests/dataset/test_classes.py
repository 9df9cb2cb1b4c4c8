"""Classes renamed, merged and dropped by a file."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import pytest
import shapely

from geoseg.annotations.burn import burn
from geoseg.dataset.classes import ClassMapping, read_class_mapping
from geoseg.dataset.folder import Dataset
from geoseg.errors import AnnotationError, ConfigError
from geoseg.legend import DOTA_V2, Legend
from tests.calls import prepare, prepare_scenes
from tests.dataset.issues import count_issues
from tests.dota_folder import SHIP, Thing, add
from tests.scenes import picture, write_scene

CAR = Thing((60, 40, 70, 40, 70, 50, 60, 50), "small-vehicle")
LORRY = Thing((60, 60, 90, 60, 90, 75, 60, 75), "large-vehicle")
MERGED = '"large-vehicle" = "vehicle"\n"small-vehicle" = "vehicle"\n"*" = ""\n'


def mapping(folder: Path, text: str) -> Path:
    path = folder / "classes.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_merged_and_dropped_classes_are_so_in_quads_and_outlines_alike(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [SHIP, CAR, LORRY])
    outlines = tmp_path / "outlines.parquet"
    names = ["ship", "small-vehicle", "large-vehicle"]
    shapes = [
        shapely.Polygon([t.corners[i : i + 2] for i in (0, 2, 4)]) for t in (SHIP, CAR, LORRY)
    ]
    gpd.GeoDataFrame({"image": "a", "category": names}, geometry=shapes).to_parquet(outlines)
    out = prepare(
        tmp_path / "dota",
        tmp_path / "out",
        outlines=outlines,
        classes=mapping(tmp_path, MERGED),
        val_share=0,
    )
    dataset = Dataset.open(out)
    assert dataset.legend.names == ("background", "vehicle")
    assert dataset.layers["quads"].objects == dataset.layers["outlines"].objects == {"vehicle": 2}
    vehicles = burn(dataset.annotations("outlines")["a"], 80, 100)
    assert dataset.layers["outlines"].pixels["vehicle"] == (vehicles == 1).sum() > 0
    assert count_issues(out, "object of a dropped class", "left out") == {"ship": 2}


def test_a_class_that_is_not_named_keeps_its_name_and_colour(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [SHIP, CAR])
    classes = mapping(tmp_path, '"small-vehicle" = "car"')
    legend = Dataset.open(prepare(tmp_path / "dota", tmp_path / "out", classes=classes)).legend
    assert legend.names[1:3] == ("plane", "ship")
    assert "car" in legend.names
    assert "small-vehicle" not in legend.names
    assert legend[2].colour == DOTA_V2[DOTA_V2.id_of("ship")].colour
    assert len({c.colour for c in legend}) == len(legend)


def test_labels_may_have_classes_that_only_the_file_knows(tmp_path: Path) -> None:
    add(tmp_path / "dota", "a", [SHIP])
    label = tmp_path / "dota" / "labelTxt" / "a.txt"
    label.write_text("1 1 9 1 9 9 1 9 Boot 0\n", encoding="utf-8")
    with pytest.raises(AnnotationError, match="unknown class 'Boot'"):
        prepare(tmp_path / "dota", tmp_path / "out")
    out = prepare(
        tmp_path / "dota", tmp_path / "out", classes=mapping(tmp_path, '"Boot" = "ship"\n"*" = ""')
    )
    assert Dataset.open(out).layers["quads"].objects == {"ship": 1}


def test_drawn_classes_are_renamed_too_and_fit_a_legend_that_is_asked_for(tmp_path: Path) -> None:
    scene = write_scene(tmp_path / "s.tif", picture(300, 420), crs="EPSG:32631")
    shapes = [shapely.box(10 * n, -200, 10 * n + 8, -10) for n in range(3)]
    table = gpd.GeoDataFrame({"class": ["Auto", "LKW", "Baum"]}, geometry=shapes, crs="EPSG:32631")
    table.to_file(tmp_path / "drawn.gpkg")
    legend = Legend.of({"vehicle": "#ff0000", "tree": "#00ff00"})
    (tmp_path / "legend.json").write_text(json.dumps(legend.to_json()), encoding="utf-8")
    out = prepare_scenes(
        [scene],
        tmp_path / "out",
        annotations=tmp_path / "drawn.gpkg",
        classes=mapping(tmp_path, 'Auto = "vehicle"\nLKW = "vehicle"\nBaum = ""'),
        legend=str(tmp_path / "legend.json"),
        val_share=0,
        block=1000,
    )
    dataset = Dataset.open(out)
    assert dataset.legend == legend
    assert dataset.layers["outlines"].objects == {"vehicle": 2, "tree": 0}
    assert count_issues(out, "object of a dropped class", "left out") == {"Baum": 1}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('"smal-vehicle" = "car"', "'smal-vehicle' does not occur .did you mean 'small-vehicle'"),
        ("no", "invalid TOML"),
        ("[a]\nb = 1", "'a' must become a name"),
        ('ship = "background"', "cannot become background. Drop it"),
        ('"*" = ""', "drops all classes"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(tmp_path: Path, text: str, why: str) -> None:
    add(tmp_path / "dota", "a", [SHIP, CAR])
    with pytest.raises(ConfigError, match=why) as caught:
        prepare(tmp_path / "dota", tmp_path / "out", classes=mapping(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "classes.toml"))
    assert not (tmp_path / "out").exists()


def test_what_all_others_become_can_be_said(tmp_path: Path) -> None:
    renaming = read_class_mapping(mapping(tmp_path, 'a = "b"\n"*" = "other"'))
    assert [renaming(name) for name in ("a", "b", "c")] == ["b", "other", "other"]
    assert ClassMapping()("a") == "a"
