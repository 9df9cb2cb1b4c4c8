import json
from pathlib import Path

import numpy as np
import pytest
from rasterio.windows import Window

from geoseg.annotations import Index, burn
from geoseg.cli import boundary, geoseg
from geoseg.dataset import Dataset
from geoseg.errors import ConfigError, DatasetError, OutputError
from geoseg.learn.weights import WEIGHTINGS, class_weights
from geoseg.stats import stats, stats_table
from tests.drawn import COLOURS, dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("drawn"))


def test_counts_sizes_and_weights_are_those_of_the_burned_annotations(drawn: Path) -> None:
    opened = Dataset.open(drawn)
    annotations = opened.annotations()
    burned = np.concatenate(
        [
            burn(Index(annotations[s.name]).window(Window(0, 0, 160, 160)), 160, 160).ravel()
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
    lines = stats_table(found).splitlines()
    assert len(lines) == 1 + len(found.classes)
    pixels = [int(line.split()[2].replace(",", "")) for line in lines[1:]]
    assert pixels == sorted(pixels, reverse=True)
    assert lines[1].startswith("background")


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
    assert capsys.readouterr().out == stats_table(stats(drawn)) + "\n"


def test_what_cannot_be_counted_or_drawn_is_refused(drawn: Path, tmp_path: Path) -> None:
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
