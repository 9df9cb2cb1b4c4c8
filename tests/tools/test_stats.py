import json
from pathlib import Path

import numpy as np
import pytest
from rasterio.windows import Window

from geoseg.annotations.burn import AnnotationIndex, burn
from geoseg.cli import boundary, geoseg
from geoseg.dataset.folder import Dataset
from geoseg.errors import ConfigError, DatasetError, OutputError
from geoseg.report.tables import format_stats
from geoseg.training.class_weights import WEIGHTINGS, class_weights
from tests.calls import stats
from tests.dataset import chip_folders as folders
from tests.synthetic_dataset import COLOURS, dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("drawn"))


def test_counts_sizes_and_weights_are_those_of_the_burned_annotations(drawn: Path) -> None:
    opened = Dataset.open(drawn)
    annotations = opened.annotations()
    burned = np.concatenate(
        [
            burn(
                AnnotationIndex(annotations[s.name]).query_window(Window(0, 0, 160, 160)), 160, 160
            ).ravel()
            for s in opened.split("train")
        ]
    )
    pixels = np.bincount(burned, minlength=len(opened.legend))
    found = stats(drawn)
    assert [c.pixels for c in found.classes] == pixels.tolist()
    assert sum(c.share for c in found.classes) == pytest.approx(1)
    for weighting in WEIGHTINGS:
        expected = class_weights(pixels, weighting)
        assert [c.weights[weighting] for c in found.classes] == pytest.approx(expected.tolist())
    sides = {
        name: [
            geometry.area**0.5
            for s in opened.split("train")
            for geometry, class_id in zip(
                annotations[s.name].geometry, annotations[s.name].class_id, strict=True
            )
            if opened.legend[class_id].name == name
        ]
        for name in COLOURS
    }
    for c in found.classes[1:]:
        assert c.objects == len(sides.get(c.name, []))
        if c.objects:
            assert c.size is not None
            assert c.size_m is not None
            assert c.size[1] == pytest.approx(np.median(sides[c.name]), abs=0.01)
            assert c.size_m == pytest.approx([side / 2 for side in c.size], abs=0.01)
        else:
            assert c.size is c.size_m is None


def test_the_table_has_a_line_per_class_with_most_pixels_first(drawn: Path) -> None:
    found = stats(drawn, split="val")
    lines, bands = map(str.splitlines, format_stats(found).split("\n\n"))
    assert [line.split()[:2] for line in bands[1:]] == [["1", "red"], ["2", "green"], ["3", "blue"]]
    assert len(lines) == 1 + len(found.classes)
    pixels = [int(line.split()[2].replace(",", "")) for line in lines[1:]]
    assert pixels == sorted(pixels, reverse=True)
    assert lines[1].startswith("background")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.dataset(tmp_path_factory.mktemp("both"))


def test_classes_are_counted_together_scene_by_scene(both: Path) -> None:
    found = {c.name: c for c in stats(both, layer="quads").classes}
    held = {"a": {"ship", "plane", "harbor"}, "b": {"ship"}}
    for name, c in found.items():
        assert c.scenes == sum(name in scene for scene in held.values())
        assert {other: n for other, n in c.together.items() if n} == {
            other: 1 for other in held["a"] - {name} if name in held["a"]
        }
    told = stats(both, layer="quads").to_json()["classes"]
    assert told["ship"]["together"]["plane"] == {"scenes": 1, "share": 0.5}
    assert told["plane"]["together"]["ship"] == {"scenes": 1, "share": 1.0}


def test_quad_fill_is_computed_where_both_layers_have_equal_numbers_of_objects(both: Path) -> None:
    found = {c.name: c.quad_fill for c in stats(both).classes}
    opened = Dataset.open(both)
    quads, outlines = (opened.annotations(layer)["a"] for layer in ("quads", "outlines"))
    plane = opened.legend.id_of("plane")
    (quad,), (outline,) = (of.geometry[of.class_id == plane] for of in (quads, outlines))
    assert found["plane"] == pytest.approx(outline.area / quad.area)
    assert found["ship"] == pytest.approx(folders.RING.area / (40 * 14))
    assert found["harbor"] is None  # two quads, one outline
    assert found["bridge"] is None
    assert "of quad %" in format_stats(stats(both))


def test_a_single_layer_has_no_quad_fill(drawn: Path) -> None:
    assert all(c.quad_fill is None for c in stats(drawn).classes)
    assert "of quad %" not in format_stats(stats(drawn))


def test_the_co_occurrence_table_lists_the_other_classes(
    both: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["stats", str(both), "--reference", "quads", "--co-occurrence"]
    assert boundary.run(geoseg, arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(
        line.startswith("ship") and line.endswith("2  plane 50 %, harbor 50 %") for line in lines
    )


def test_json_is_written_to_a_named_file(
    both: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, plot = tmp_path / "stats.json", tmp_path / "plot.png"
    arguments = ["stats", str(both), "--json", str(file), "--plot", str(plot)]
    assert boundary.run(geoseg, arguments) == 0
    assert json.loads(file.read_text()) == json.loads(json.dumps(stats(both).to_json()))
    assert capsys.readouterr().out == format_stats(stats(both)) + "\n"
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert boundary.run(geoseg, arguments) == 4


def test_the_command_prints_a_table_or_json_and_draws(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "plot.png"
    assert boundary.run(geoseg, ["stats", str(drawn), "--json", "--plot", str(plot)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["classes"]["plane"]["objects"] == 3
    assert told["truth"] == "quads"
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert boundary.run(geoseg, ["stats", str(drawn)]) == 0
    assert capsys.readouterr().out == format_stats(stats(drawn)) + "\n"


def test_invalid_splits_and_plots_are_refused(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="geoseg prepare"):
        stats(tmp_path)
    with pytest.raises(DatasetError, match="no split 'test'"):
        stats(drawn, split="test")
    with pytest.raises(DatasetError, match="no layer 'circles'"):
        stats(drawn, layer="circles")
    with pytest.raises(ConfigError, match=r"ends in \.png"):
        stats(drawn, plot=tmp_path / "plot.jpg")
    (tmp_path / "mine.png").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        stats(drawn, plot=tmp_path / "mine.png")
