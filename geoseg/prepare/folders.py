"""What DOTA folders and datasets hold, gathered from several of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from geoseg.dataset import OUTLINES
from geoseg.errors import ConfigError, DatasetError
from geoseg.legend import BACKGROUND, DOTA_V2, Legend
from geoseg.prepare.findings import Done, Findings, Kind
from geoseg.prepare.legends import smallest_legend, with_names
from geoseg.prepare.make import Run
from geoseg.prepare.outlines import read_outlines
from geoseg.prepare.prepared import find_prepared, is_dataset
from geoseg.prepare.scenes import Input, look
from geoseg.prepare.sources import find_sources


def gathered(
    folders: Sequence[Path], splits: Sequence[str] | None, outlines: Path | None, run: Run
) -> list[Input]:
    """The scenes of all folders, with the layers that all have; names that two folders have are made to differ.

    Raises ConfigError, DatasetError, AnnotationError.
    """
    parts: dict[Path, list[Input]] = {}
    dota = [folder for folder in folders if not is_dataset(folder)]
    if outlines and not dota:
        raise ConfigError(f"{outlines}: outlines are for DOTA folders. leave out --outlines")
    if dota:
        parts |= _of_dota(dota, splits, outlines, run)
    for folder in folders:
        if folder not in parts:
            tasks = find_prepared(folder, splits)
            parts[folder] = run.threads.run(lambda f: f(), tasks, "read labels", run.findings)
    ordered = {folder: parts[folder] for folder in dict.fromkeys(folders)}
    return _renamed(_with_common_layers(ordered, run.findings), run.findings)


def _of_dota(
    folders: Sequence[Path], splits: Sequence[str] | None, outlines: Path | None, run: Run
) -> dict[Path, list[Input]]:
    """The scenes of DOTA folders, in one legend."""
    legend = run.asked if run.asked and not run.renaming.path else None
    legend = legend or with_names(DOTA_V2, run.renaming.sources)
    found = {folder: find_sources(folder, splits, run.findings) for folder in folders}
    sources = [source for some in found.values() for source in some]
    reading = partial(look, legend=legend, findings=run.findings)
    inputs = run.threads.run(reading, sources, "read labels", run.findings)
    if outlines and inputs:
        names = [i.source.name for i in inputs]
        rows = read_outlines(outlines, legend, names, run.findings)
        inputs = [
            replace(i, truths={**i.truths, OUTLINES: of_scene}, files={OUTLINES: outlines})
            for i, of_scene in zip(inputs, rows, strict=True)
        ]
    if not run.asked or run.renaming.path:
        inputs = _in_smallest(inputs, legend)
    home = {source.image: folder for folder, some in found.items() for source in some}
    return {f: [i for i in inputs if home[i.source.image] == f] for f in folders}


def _in_smallest(inputs: Sequence[Input], legend: Legend) -> list[Input]:
    """The same in the smallest legend that has their classes."""
    smallest = smallest_legend(legend, (truth for i in inputs for truth in i.truths.values()))
    table = np.array(
        [
            smallest.names.index(name) if name in smallest.names else BACKGROUND
            for name in legend.names
        ],
        np.uint8,
    )
    return [
        replace(
            i,
            legend=smallest,
            truths={
                layer: replace(objects, class_id=table[objects.class_id])
                for layer, objects in i.truths.items()
            },
        )
        for i in inputs
    ]


def _with_common_layers(
    parts: dict[Path, list[Input]], findings: Findings
) -> dict[Path, list[Input]]:
    layers = {folder: tuple(some[0].truths) for folder, some in parts.items() if some}
    common = [
        layer
        for layer in next(iter(layers.values()), ())
        if all(layer in there for there in layers.values())
    ]
    if layers and not common:
        told = ", ".join(f"{folder} has {' and '.join(there)}" for folder, there in layers.items())
        raise DatasetError(f"{told}: no truth that all have. prepare them apart")
    for folder, there in layers.items():
        for layer in set(there) - set(common):
            count = sum(len(i.truths[layer]) for i in parts[folder])
            findings.add(Kind.PARTIAL_LAYER, folder, Done.LEFT_OUT, count=count, note=layer)
    return {
        folder: [replace(i, truths={layer: i.truths[layer] for layer in common}) for i in some]
        for folder, some in parts.items()
    }


def _renamed(parts: dict[Path, list[Input]], findings: Findings) -> list[Input]:
    """All inputs; a scene whose name another folder's has too gets that of its folder before it."""
    owners: dict[str, set[Path]] = {}
    for folder, some in parts.items():
        for i in some:
            owners.setdefault(i.source.name.casefold(), set()).add(folder)
    inputs = []
    for folder, some in parts.items():
        for i in some:
            if len(owners[i.source.name.casefold()]) > 1:
                name = f"{folder.resolve().name}-{i.source.name}"
                findings.add(
                    Kind.NAME_CLASH, i.source.image, Done.REPAIRED, scene=name, note=f"now {name}"
                )
                inputs.append(replace(i, source=replace(i.source, name=name)))
            else:
                inputs.append(i)
    return inputs
