"""From inputs that were looked at to a dataset folder, whatever the inputs are."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rasterio.errors import NotGeoreferencedWarning

from geoseg.annotations import Annotations
from geoseg.errors import ConfigError, DatasetError
from geoseg.legend import Legend
from geoseg.prepare.checks import check_ground, check_twins, checked
from geoseg.prepare.classes import Renaming, read_classes, unknown_class
from geoseg.prepare.findings import Done, Findings, Kind
from geoseg.prepare.finish import write_dataset
from geoseg.prepare.folder import building
from geoseg.prepare.legends import legend_named, united
from geoseg.prepare.parts import in_blocks
from geoseg.prepare.report import tell, write_report
from geoseg.prepare.scenes import Input, place
from geoseg.prepare.settings import Settings
from geoseg.prepare.sources import check_names
from geoseg.prepare.splits import by_list, by_share
from geoseg.prepare.threads import Threads


@dataclass(frozen=True, slots=True)
class Run:
    """What goes with a run, for those who gather its inputs."""

    settings: Settings
    threads: Threads
    findings: Findings

    asked: Legend | None
    """The legend that the user named."""

    renaming: Renaming
    """What the user wants classes to become."""


Gather = Callable[[Run], Sequence[Input]]


def make(output: Path, settings: Settings, gather: Gather, *, spatial: bool) -> Path:
    """Make the dataset folder `output` of what `gather` finds, and return it.

    With `spatial`, or where blocks are asked for, scenes without a split are divided by the ground they
    show, else by their names.
    """
    findings = Findings(skip=settings.skip_bad)
    asked = legend_named(settings.legend) if settings.legend else None
    renaming = read_classes(settings.classes) if settings.classes else Renaming()
    with (
        warnings.catch_warnings(),
        building(output, overwrite=settings.overwrite, restart=settings.restart) as (
            folder,
            record,
        ),
        Threads(settings.jobs, settings.track) as threads,
    ):
        # here, because threads that change the filters by turns undo one another's changes
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        inputs = gather(Run(settings, threads, findings, asked, renaming))
        findings.stop()
        _check_any(output, inputs, findings)
        legend, inputs = _relabelled(inputs, asked, renaming, findings)
        inputs = [checked(i, difficult=settings.difficult, findings=findings) for i in inputs]
        check_twins(inputs, findings)
        inputs = _split(inputs, settings, findings, spatial=spatial)
        findings.stop()
        _check_any(output, inputs, findings)
        check_names(i.source for i in inputs)
        check_ground(inputs, findings)
        write_dataset(place(inputs), folder, record, legend, threads, findings)
        write_report(folder, findings)
    tell(output, findings)
    findings.tell(output)
    return output


def _check_any(output: Path, inputs: Sequence[Input], findings: Findings) -> None:
    if not inputs:
        raise DatasetError(f"{output}: no scene is left. {findings.faults_text()}")


def _relabelled(
    inputs: Sequence[Input], asked: Legend | None, renaming: Renaming, findings: Findings
) -> tuple[Legend, list[Input]]:
    """The legend of the dataset, and the inputs with its class ids."""
    known = {i.legend: i.source.labels for i in inputs}
    renaming.check(name for legend in known for name in legend.names[1:])
    legends = {path: renaming.legend(legend) for legend, path in known.items()}
    legend = asked or united(legends, findings)
    tables = {}
    for former, path in known.items():
        try:
            tables[former] = renaming.table(former, legend)
        except ValueError as fault:
            raise unknown_class(path, fault) from fault
    return legend, [_with_ids(i, tables[i.legend], legend, findings) for i in inputs]


def _with_ids(scene: Input, table: np.ndarray, legend: Legend, findings: Findings) -> Input:
    truths = {}
    for layer, objects in scene.truths.items():
        ids = table[objects.class_id]
        for former in np.unique(objects.class_id[ids < 0]):
            count = (objects.class_id == former).sum()
            findings.add(
                Kind.DROPPED_CLASS,
                scene.file(layer),
                Done.LEFT_OUT,
                scene=scene.source.name,
                count=count,
                note=scene.legend[former].name,
            )
        kept = ids >= 0
        truths[layer] = Annotations(
            objects.geometry[kept], ids[kept].astype(np.uint8), objects.difficult[kept]
        )
    return replace(scene, truths=truths, legend=legend)


def _split(
    inputs: Sequence[Input], settings: Settings, findings: Findings, *, spatial: bool
) -> list[Input]:
    """Every input with a split, or blocks of it."""
    if settings.split_list:
        if settings.block or settings.gap:
            raise ConfigError(
                f"{settings.split_list}: says which scenes are in which split. leave out --block and --gap"
            )
        images = {i.source.name: i.source.image for i in inputs}
        splits = by_list(images, settings.split_list, findings)
        return [_into(i, splits[i.source.name]) for i in inputs if i.source.name in splits]
    undecided = [i for i in inputs if i.source.split is None]
    decided = [i for i in inputs if i.source.split is not None]
    if undecided and (spatial or settings.block):
        return decided + in_blocks(undecided, settings, findings)
    if settings.block or settings.gap:
        raise ConfigError("--block and --gap are for scenes that have no split. leave them out")
    splits = by_share([i.source.name for i in undecided], settings.val_share)
    return decided + [_into(i, splits[i.source.name]) for i in undecided]


def _into(scene: Input, split: str) -> Input:
    return replace(scene, source=replace(scene.source, split=split))
