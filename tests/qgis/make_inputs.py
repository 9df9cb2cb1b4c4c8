"""Write the inputs of the tests in QGIS, with geoseg's own Python: `python make_inputs.py FOLDER`.

A synthetic scene of rectangles on grey, a model that classifies its colours exactly, a slow model, reference labels,
and annotations.
"""

from __future__ import annotations

import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
import torch
from affine import Affine

from geoseg.legend import Legend
from geoseg.models.model_file import ModelCard, save_model
from geoseg.models.unet import UNet
from tests.scenes import write_scene

COLOURS = {"roof": (230, 60, 60), "pond": (60, 60, 230)}
LEGEND = Legend.of({"roof": "#ff8800", "pond": "#0088ff"})
PLACE = {"crs": "EPSG:32631", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_800_000)}
SIZE = 512


def main(folder: Path) -> None:
    """Write all inputs to a folder."""
    rng = np.random.default_rng(4)
    pixels = np.full((3, SIZE, SIZE), 110, np.uint8) + rng.integers(
        0, 20, (3, SIZE, SIZE), np.uint8
    )
    labels = np.zeros((1, SIZE, SIZE), np.uint8)
    rows = []
    for top in range(16, SIZE - 40, 48):
        for left in range(16, SIZE - 40, 48):
            name = ("roof", "pond")[int(rng.integers(2))]
            height, width = rng.integers(12, 32, 2)
            pixels[:, top : top + height, left : left + width] = np.reshape(
                COLOURS[name], (3, 1, 1)
            )
            labels[:, top : top + height, left : left + width] = LEGEND.id_of(name)
            box = shapely.box(left, top, left + width, top + height)
            rows.append(
                (name, shapely.transform(box, lambda xy: xy * (0.5, -0.5) + (500_000, 5_800_000)))
            )
    write_scene(folder / "my scene.tif", pixels, **PLACE)
    write_scene(folder / "plain.png", pixels, driver="PNG")
    write_scene(folder / "large.tif", np.tile(pixels, (1, 6, 6)), **PLACE, compress="deflate")
    write_scene(folder / "labels.tif", labels, **PLACE)
    names, shapes = zip(*rows, strict=True)
    table = gpd.GeoDataFrame({"what": names}, geometry=list(shapes), crs=PLACE["crs"])
    table.to_crs("EPSG:4326").to_file(folder / "annotations.gpkg")
    save_model(folder / "colours.safetensors", build_weights(), build_card(margin=0), half=False)
    slow = UNet(3, 3, width=32, depth=1).state_dict()
    save_model(folder / "slow.safetensors", slow, build_card(margin=62, width=32))


def build_weights() -> dict[str, torch.Tensor]:
    """Build weights of a U-Net that classifies red, blue and grey, pixel by pixel."""
    network = UNet(3, 3, width=2, depth=1)
    weights = {name: torch.zeros_like(value) for name, value in network.state_dict().items()}
    for name in weights:
        if name.endswith(("running_var", "1.weight", "4.weight")):
            weights[name] += 1
    # red - blue and blue - red pass through the first level and its skip connection to the head
    weights["encoder.0.0.weight"][0, :, 1, 1] = torch.tensor([1.0, 0.0, -1.0])
    weights["encoder.0.0.weight"][1, :, 1, 1] = torch.tensor([-1.0, 0.0, 1.0])
    for channel in (0, 1):
        weights["encoder.0.3.weight"][channel, channel, 1, 1] = 1
        weights["decoder.0.0.weight"][channel, 2 + channel, 1, 1] = 1
        weights["decoder.0.3.weight"][channel, channel, 1, 1] = 1
        weights["head.weight"][1 + channel, channel] = 10
    weights["head.bias"][0] = 10
    return weights


def build_card(*, margin: int, width: int = 2) -> ModelCard:
    """Build the model card of a U-Net for the classes of the scene."""
    return ModelCard(
        architecture="unet",
        parameters={"width": width, "depth": 1},
        legend=LEGEND,
        bands=3,
        dtype="uint8",
        mean=(120.0, 120.0, 120.0),
        std=(50.0, 50.0, 50.0),
        stride=2,
        margin=margin,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
