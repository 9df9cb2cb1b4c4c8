"""What the model that ships is good for, on a real scene that it has not seen."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pytest
import rasterio
import shapely

from geoseg.models.model_file import load_model
from geoseg.tools.segment import segment

# centres of the nine whole tanks, in pixels of the scene
TANKS = [
    *((97, 81), (254, 86), (390, 136), (528, 191), (668, 232)),
    *((201, 230), (334, 277), (473, 332), (617, 375)),
]


def test_the_shipped_model_is_small_and_says_its_terms() -> None:
    model = load_model()
    assert model.path.stat().st_size <= 10_000_000
    assert "non-commercial" in model.card.training["terms"]
    assert model.card.scores["val, outlines"]["miou"] >= 0.52  # as README says
    assert model.card.pixel_size_m == (0.11, 0.78)  # else scenes of any size are read as they are
    assert len(model.card.training["failures"]) > 3


@pytest.mark.slow
def test_it_outlines_storage_tanks_that_a_person_would_point_at(
    real_data: Path, tmp_path: Path
) -> None:
    scene = real_data / "scenes" / "storage_tanks_rgba_epsg3857.tif"
    found = gpd.read_file(segment(scene, tmp_path / "tanks.gpkg"), layer="segments")
    assert found.crs.to_epsg() == 3857
    tanks = shapely.union_all(found.geometry[found["class"] == "storage-tank"])
    with rasterio.open(scene) as file:
        centres = [shapely.Point(file.transform @ centre) for centre in TANKS]
    assert sum(tanks.contains(centre) for centre in centres) >= 6
    assert (
        tanks.area < 2.5 * 9 * 2600 * 4
    )  # nine tanks of some 2,600 pixels of 4 units, not the whole yard
