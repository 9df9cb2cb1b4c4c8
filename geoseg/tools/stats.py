"""Class statistics of a dataset, and the class weights that each weighting computes from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geoseg.annotations.burn import OUTLINES, QUADS
from geoseg.dataset.folder import Dataset
from geoseg.dataset.statistics import (
    ClassStats,
    Stats,
    compute_percentiles,
    compute_quad_fill,
    count_co_occurrences,
    measure_objects,
    name_statistics,
)
from geoseg.errors import ConfigError, DatasetError
from geoseg.files import check_output, write_json
from geoseg.options import StatsOptions, StrPath, as_path
from geoseg.report.figures import ClassBar, plot_imbalance
from geoseg.training.class_weights import WEIGHTINGS, class_weights


def stats(
    folder: StrPath,
    *,
    options: StatsOptions = StatsOptions(),
) -> Stats:
    """Compute the class statistics of a split.

    Parameters
    ----------
    folder
        Dataset folder.
    options
        Split and annotation layer to describe, products, and treatment of existing ones. The default
        layer is outlines if there are any, else quads.

    Returns
    -------
    Stats
        Objects and pixels as `prepare` counted them, and sizes of the annotations.

    Raises
    ------
    DatasetError
        If the dataset cannot be read, or if the split has no valid pixel.
    ConfigError
        If `plot` is not a ``.png``.
    OutputError
        If a product exists or cannot be written.
    """
    folder, plot, json = Path(folder), as_path(options.plot), as_path(options.json)
    for product in filter(None, (plot, json)):
        check_output(product, overwrite=options.overwrite)
    if plot and plot.suffix.lower() != ".png":
        raise ConfigError(f"{plot}: figures are written as PNG. Use a file name that ends in .png")
    dataset = Dataset.open(folder)
    statistics = _compute_stats(dataset, options.split, options.layer or dataset.default_layer)
    if plot:
        plot_imbalance(
            _class_bars(statistics), f"{folder.name}, {options.split}, {statistics.layer}", plot
        )
    if json:
        write_json(json, statistics.to_json())
    return statistics


def _compute_stats(dataset: Dataset, split: str, layer: str) -> Stats:
    scenes, legend = dataset.split(split), dataset.legend
    annotations = {
        name: dataset.annotations(name, scenes=scenes) for name in {*dataset.layers, layer}
    }
    of = {name: [by_scene[s.name] for s in scenes] for name, by_scene in annotations.items()}
    counts = dataset.layers[layer].splits[split]
    pixels = np.array([counts.pixels.get(c.name, 0) for c in legend], np.int64)
    if not pixels.any():
        raise DatasetError(
            f"{dataset.folder}: split {split!r} has no valid pixel. Check its scenes"
        )
    weights = {weighting: class_weights(pixels, weighting) for weighting in WEIGHTINGS}
    lengths, metres = measure_objects(of[layer], [s.pixel_size_m for s in scenes])
    pairs = count_co_occurrences(of[layer], len(legend))
    filled = np.full(len(legend), np.nan)
    if QUADS in of and OUTLINES in of:
        filled = compute_quad_fill(of[OUTLINES], of[QUADS], len(legend))
    classes = tuple(
        ClassStats(
            name=c.name,
            objects=counts.objects.get(c.name, 0),
            pixels=int(pixels[c.id]),
            share=float(pixels[c.id] / pixels.sum()),
            size=compute_percentiles(_of_class(lengths, c.id)),
            size_m=compute_percentiles(_of_class(metres, c.id)),
            quad_fill=None if np.isnan(filled[c.id]) else float(filled[c.id]),
            scenes=int(pairs[c.id, c.id]),
            together={o.name: int(pairs[c.id, o.id]) for o in legend.objects if o != c},
            weights={weighting: float(weight[c.id]) for weighting, weight in weights.items()},
        )
        for c in legend
    )
    bands = name_statistics(dataset)
    return Stats(dataset.folder, split, layer, legend, len(scenes), classes, bands)


def _of_class(lengths: NDArray[np.float64], class_id: int) -> NDArray[np.float64]:
    """Return the sides of the objects of a class from (n, 2) class IDs and sides."""
    of_class: NDArray[np.float64] = lengths[lengths[:, 0] == class_id, 1]
    return of_class


def _class_bars(stats: Stats) -> list[ClassBar]:
    background = stats.classes[0]
    return [
        ClassBar(
            name=c.name,
            colour=stats.legend[stats.legend.id_of(c.name)].colour if c.objects else "#9a9a9a",
            objects=c.objects,
            pixels=c.pixels,
            size=c.size,
            quad_fill=c.quad_fill,
            scenes=c.scenes,
            together=c.together,
            weights={name: c.times(background, name) for name in WEIGHTINGS},
        )
        for c in stats.by_pixels()
    ]
