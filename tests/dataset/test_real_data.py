"""Real scenes with both annotation layers: DOTA's quads and iSAID's outlines."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geoseg.annotations.dota import read_dota, write_dota
from geoseg.dataset.folder import Dataset
from geoseg.legend import DOTA_V1
from tests.calls import prepare

SCENES = 12


@pytest.fixture
def dota(tmp_path: Path, real_data: Path) -> Path:
    """The smallest scenes of train that show planes, by links."""
    train = real_data / "dota" / "train"
    labels = (path for path in (train / "labelTxt").iterdir() if " plane " in path.read_text())
    images = [train / "images" / f"{path.stem}.jpg" for path in labels]
    images.sort(key=lambda path: (path.stat().st_size, path.name))
    for kind in ("images", "labelTxt"):
        (tmp_path / "dota" / kind).mkdir(parents=True)
    for image in images[:SCENES]:
        for file in (image, train / "labelTxt" / f"{image.stem}.txt"):
            (tmp_path / "dota" / file.parent.name / file.name).symlink_to(file)
    return tmp_path / "dota"


@pytest.mark.slow
def test_both_layers_are_prepared_and_quads_cover_more_than_outlines(
    tmp_path: Path, dota: Path, real_data: Path
) -> None:
    parquet = real_data / "dota" / "instances.parquet"
    dataset = Dataset.open(prepare(dota, tmp_path / "out", outlines=parquet))
    assert len(dataset.scenes) == SCENES
    quads, outlines = dataset.annotations("quads"), dataset.annotations("outlines")
    table = gpd.read_parquet(parquet)
    for scene in dataset.scenes:
        rows = table[table["image"] == scene.name]
        assert sorted(DOTA_V1[i].name for i in outlines[scene.name].class_id) == sorted(
            rows["category"]
        )
        total = shapely.area(outlines[scene.name].geometry).sum()
        assert total == pytest.approx(shapely.area(rows.geometry.to_numpy()).sum(), rel=1e-3)
    shares = {}
    for c in dataset.legend.objects:
        of_quads, of_outlines = (
            sum(shapely.area(part.geometry[part.class_id == c.id]).sum() for part in truth.values())
            for truth in (quads, outlines)
        )
        if of_quads > 0:
            shares[c.name] = of_outlines / of_quads
    assert max(shares.values()) < 1.01  # the quads were drawn around the outlines
    assert shares["plane"] < 0.6


@pytest.mark.slow
def test_dota_text_comes_back_from_a_dataset(tmp_path: Path, dota: Path) -> None:
    dataset = Dataset.open(prepare(dota, tmp_path / "out"))
    for name, objects in dataset.annotations("quads").items():
        original = read_dota(dota / "labelTxt" / f"{name}.txt", DOTA_V1).annotations
        path = write_dota(tmp_path / f"{name}.txt", objects, dataset.legend)
        again = read_dota(path, DOTA_V1).annotations
        assert np.array_equal(again.class_id, original.class_id)
        assert shapely.equals_exact(again.geometry, original.geometry, 1e-5).all()
