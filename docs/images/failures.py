"""Draw errors of the shipped model as maps of labels: python docs/images/failures.py DATASET

Reference and labels of validation scenes of DOTA, without their imagery, which may not be redistributed.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rasterio.windows import Window

from geoseg.annotations.burn import burn
from geoseg.dataset.folder import Dataset
from geoseg.inference.label_source import PredictedLabels

CASES = {
    "S1012": "a bridge missed",
    "S0161": "ships that fill a dock missed",
    "S1073": "piers not annotated in DOTA",
    "S1146": "courts split",
    "S1138": "a meadow labelled as a pitch",
}
"""Validation scenes of the republished DOTA scenes, and the errors in their labels."""

GROUND = (240, 240, 240)
VISIBLE = 30  # pixels


def main(folder: Path, picture: Path) -> None:
    dataset = Dataset.open(folder)
    scenes = {scene.name: scene for scene in dataset.split("val") if scene.name in CASES}
    if missing := CASES.keys() - scenes.keys():
        sys.exit(f"{folder}: has no scene {', '.join(sorted(missing))} in val")
    model = PredictedLabels(dataset)
    references = dataset.annotations("outlines", scenes=list(scenes.values()))
    colours = np.full((256, 3), GROUND, np.uint8)
    for c in dataset.legend.objects:
        colours[c.id] = dataset.legend.rgb(c.id)
    figure = Figure(figsize=(9, 5.3), layout="constrained")
    grid = figure.subplots(2, len(CASES))
    pixels = np.zeros(256, int)
    for column, (name, title) in enumerate(CASES.items()):
        scene = scenes[name]
        reference = burn(references[name], scene.height, scene.width)
        with model.open(scene) as opened:
            labels = opened.labels.read(Window(0, 0, scene.width, scene.height))
        for axes, ids in zip(grid[:, column], (reference, labels), strict=True):
            axes.imshow(colours[ids], interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            pixels += np.bincount(ids.ravel(), minlength=256)
        grid[0, column].set_title(textwrap.fill(title, 22), fontsize=8)
    for axes, of in zip(grid[:, 0], ("reference", "labels"), strict=True):
        axes.set_ylabel(of)
    handles = [
        Patch(facecolor=c.colour, edgecolor="#333333", label=c.name)
        for c in dataset.legend.objects
        if pixels[c.id] >= VISIBLE
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=7, frameon=False, fontsize=8)
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).with_name("failures.png"))
