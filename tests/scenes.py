"""Small rasters and tiny models, drawn by code, that several tests share."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning

from geoseg.legend import COUNTABLE_NAMES, Legend, LegendClass
from geoseg.models.model_file import Model, ModelCard, save_model
from geoseg.models.unet import UNet
from geoseg.polygons.object_rules import ObjectRule, ObjectRules

UTM: dict[str, Any] = {
    "crs": "EPSG:32633",
    "transform": Affine(0.3, 0, 500_000, 0, -0.3, 5_500_000),
}

LEGEND = Legend(
    tuple(
        LegendClass(number, name, colour, name in COUNTABLE_NAMES)
        for number, (name, colour) in enumerate(
            [
                ("background", "#000000"),
                ("plane", "#e6194b"),
                ("ship", "#3cb44b"),
                ("harbor", "#4363d8"),
            ]
        )
    )
)


def picture(height: int, width: int, *, bands: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """(bands, h, w) of blotches, from 1 to 255, so that 0 is free to mean nothing."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(1, 256, (bands, -(-height // 7), -(-width // 7)), dtype=np.uint8)
    return coarse.repeat(7, axis=1).repeat(7, axis=2)[:, :height, :width]


def write_scene(path: Path, pixels: NDArray[Any], **profile: Any) -> Path:
    """Write (bands, h, w) as a GeoTIFF, or what `profile` says otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        settings = {"driver": "GTiff", "dtype": pixels.dtype, "count": len(pixels), **profile}
        height, width = pixels.shape[1:]
        with rasterio.open(path, "w", width=width, height=height, **settings) as dataset:
            dataset.write(pixels)
    return path


def tiny_network(
    *,
    bands: int = 3,
    depth: int = 2,
    seed: int = 0,
    classes: int = len(LEGEND),
    objects: bool = False,
) -> UNet:
    """A U-Net of random weights that finds all classes, some of the time.

    Its batch norms have statistics of their own.
    """
    torch.manual_seed(seed)
    network = UNet(bands, classes, width=4, depth=depth, objects=objects).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.3)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            torch.nn.init.normal_(module.weight, 1, 0.2)
            torch.nn.init.normal_(module.bias, std=0.3)
    with torch.inference_mode():
        usual_input = (torch.from_numpy(picture(64, 64, bands=bands))[None].float() - 100) / 50
        spread, usual = torch.std_mean(network(usual_input), dim=(0, 2, 3))
    with torch.no_grad():  # logits of mean 0 and deviation 2
        network.head.weight *= (2 / spread).reshape(-1, 1, 1, 1)
        assert network.head.bias is not None
        network.head.bias.copy_((network.head.bias - usual) * 2 / spread)
    return network


def card(*, bands: int = 3, depth: int = 2, margin: int = 32, **more: Any) -> ModelCard:
    """The card of `tiny_network`."""
    return ModelCard(
        architecture="unet",
        parameters={"width": 4, "depth": depth},
        legend=LEGEND,
        bands=bands,
        dtype="uint8",
        mean=(100.0, 120.0, 90.0, 80.0)[:bands],
        std=(50.0, 60.0, 40.0, 30.0)[:bands],
        stride=2**depth,
        margin=margin,
        **more,
    )


RULES = ObjectRules(
    (ObjectRule(), *[ObjectRule(floor=40, seed=60, part=4, min_pixels=3)] * (len(LEGEND) - 1)),
    reach=3,
)
"""Rules for the object outputs of `objects_model`."""


def objects_card(**more: Any) -> ModelCard:
    """The card of `tiny_network` with object outputs."""
    made = card(**{"objects": RULES, **more})
    return replace(made, parameters={**made.parameters, "objects": True})


def objects_model(**more: Any) -> Model:
    """A model with object outputs that was never a file."""
    network = tiny_network(objects=True)
    return Model(Path("objects.safetensors"), objects_card(**more), network, "1" * 64)


def objects_model_file(path: Path, **more: Any) -> Path:
    """The same as a file."""
    weights = tiny_network(objects=True).state_dict()
    return save_model(path, weights, objects_card(**more), half=False)


def tiny_model(**more: Any) -> Model:
    """A model that was never a file."""
    return Model(Path("tiny.safetensors"), card(**more), tiny_network(), "0" * 64)


def model_file(path: Path, **more: Any) -> Path:
    """The same as a file."""
    return save_model(path, tiny_network().state_dict(), card(**more), half=False)
