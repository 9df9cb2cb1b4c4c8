"""Make a dataset from a DOTA folder, or from scenes and what was drawn over them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rasterio.errors import NotGeoreferencedWarning

from geoseg.dataset import OUTLINES, QUADS
from geoseg.errors import DatasetError
from geoseg.legend import DOTA_V2
from geoseg.prepare.drawn_scenes import prepare_drawn
from geoseg.prepare.finish import write_dataset
from geoseg.prepare.folder import building
from geoseg.prepare.georeference import common_crs
from geoseg.prepare.legends import legend_named, smallest_legend
from geoseg.prepare.outlines import read_outlines
from geoseg.prepare.scenes import look, place, truths
from geoseg.prepare.sources import find_sources
from geoseg.prepare.threads import Faults, Threads
from geoseg.progress import Track, silent

__all__ = ["prepare", "prepare_drawn"]


def prepare(
    folder: Path,
    output: Path,
    *,
    splits: Sequence[str] | None = None,
    val_share: float = 0.2,
    outlines: Path | None = None,
    legend: str | None = None,
    skip_bad: bool = False,
    jobs: int | None = None,
    overwrite: bool = False,
    track: Track = silent,
) -> Path:
    """Turn a DOTA folder into the dataset folder `output`, and return it.

    `folder` has images/ and labelTxt/, or sub-folders that have them, one per split. `splits`
    names the sub-folders to use (default: all that have images); of a folder without them
    `val_share` of the scenes become the split *val*. `outlines` is a GeoParquet file of true
    outlines. `legend` is ``dota-v1.0``, ``dota-v1.5``, ``dota-v2.0`` or a JSON file (default: the
    smallest of these that has all the classes found). `jobs` threads work at once (default: one
    per core).

    Scenes with a CRS keep their georeference and must share the CRS. Others are laid out side by
    side on a plane that has none, y up, in metres where gsd is known and else in pixels, so that
    scenes and annotations cover each other when both are opened in a GIS.

    Input at fault stops the work with a SceneError or AnnotationError that lists it; with
    `skip_bad` it is left out, logged, and listed by a SkippedInputsError once the dataset is
    complete. Raises DatasetError when `folder` holds nothing of the kind, ConfigError for an
    unknown legend, OutputError when `output` cannot be written.
    """
    if not 0 <= val_share < 1:
        raise ValueError(f"val_share must be at least 0 and less than 1, got {val_share}")
    asked = legend_named(legend) if legend else None
    faults = Faults(skip=skip_bad)
    with (
        warnings.catch_warnings(),
        building(output, overwrite=overwrite) as scratch,
        Threads(jobs, track) as threads,
    ):
        # here, because threads that change the filters by turns undo one another's changes
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        sources = find_sources(folder, splits, val_share, faults)
        looking = partial(look, legend=asked or DOTA_V2)
        inputs = threads.run(looking, sources, "read labels", faults)
        faults.stop()
        if not inputs:
            raise DatasetError(f"{folder}: no scene is left. {faults}")
        names = asked or smallest_legend(i.labels.annotations for i in inputs)
        layers = {QUADS: [i.labels.annotations for i in inputs]}
        if outlines is not None:
            layers[OUTLINES] = read_outlines(outlines, names, [i.source.name for i in inputs])
        placed = place(inputs, truths(inputs, layers))
        crs = common_crs([i.image for i in inputs])

        write_dataset(placed, scratch, crs, names, threads, faults, source=folder)
    faults.tell(output)
    return output
