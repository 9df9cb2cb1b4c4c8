"""Make a dataset from DOTA folders and other datasets, or from scenes and what was drawn over them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Unpack

from geoseg.prepare.drawn_scenes import prepare_drawn
from geoseg.prepare.folders import gathered
from geoseg.prepare.make import make
from geoseg.prepare.settings import Common, Settings

__all__ = ["prepare", "prepare_drawn"]


def prepare(
    folders: Path | Sequence[Path],
    output: Path,
    *,
    splits: Sequence[str] | None = None,
    outlines: Path | None = None,
    **common: Unpack[Common],
) -> Path:
    """Turn DOTA folders and datasets into the dataset folder `output`, and return it.

    A DOTA folder has images/ and labelTxt/, or sub-folders that have them, one per split; a dataset is a
    folder that this made. `splits` names the sub-folders, or splits of datasets, to use (default: all).
    Of a folder without them `val_share` of the scenes become the split *val*. `outlines` is a
    GeoParquet file of the true outlines in DOTA folders. `common` are the fields of `Settings`; the
    default legend is the smallest of DOTA that has all the classes found, or those of the datasets
    united by name.

    Scenes with a CRS keep their georeference and must share the CRS. Others are laid out side by
    side on a plane that has none, y up, in metres where gsd is known and else in pixels, so that
    scenes and annotations cover each other when both are opened in a GIS.

    What is odd about the input, and what was done about it, is logged and stands in report.json. Input
    at fault stops the work with a SceneError or AnnotationError that lists it; with `skip_bad` it is
    left out, and listed by a SkippedInputsError once the dataset is complete. Raises DatasetError when
    a folder holds nothing of the kind, ConfigError for an unknown legend or class, OutputError when
    `output` cannot be written.
    """
    settings = Settings(**common)
    named = [folders] if isinstance(folders, Path) else list(folders)
    gather = partial(gathered, named, splits, outlines)
    return make(output, settings, gather, spatial=False)
