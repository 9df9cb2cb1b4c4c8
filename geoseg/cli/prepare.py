"""``geoseg prepare``"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from geoseg.cli import options
from geoseg.cli.command import command, option, options_of
from geoseg.cli.progress import report, tracker
from geoseg.errors import ConfigError, SkippedInputsError
from geoseg.options import AnnotationOptions, BatchOptions, PrepareOptions

EXAMPLES = """
geoseg prepare DOTA -o dataset --outlines outlines.parquet
geoseg prepare scene.tif -o dataset --annotations roofs.gpkg --class-column kind
geoseg prepare images/ -o dataset --annotations instances.json --format coco --val-share 0.1
"""

_WITHOUT_COLOURS = ("vector", "coco", "yolo-obb", "yolo-seg")


def _split_names(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Any:
    return [name.strip() for name in value.split(",")] if value else None


@command(EXAMPLES)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=options.PATH)
@option(
    "--annotations",
    type=options.PATH,
    metavar="PATH",
    group="Input",
    help="Read annotations from this vector file, or another --format. Each SOURCE is a scene then, "
    "or a folder of scenes.",
)
@options_of(AnnotationOptions, "source")
@option(
    "--splits",
    metavar="NAME,...",
    callback=_split_names,
    show_default="all that have images",
    group="Input",
    help="Use these sub-folders, as splits of the dataset.",
)
@option(
    "--outlines",
    type=options.PATH,
    metavar="PARQUET",
    group="Input",
    help="Read outlines of the objects of DOTA from this GeoParquet file: columns image, category, "
    "geometry in pixels.",
)
@options.output
@options_of(PrepareOptions, "options")
@options_of(BatchOptions, "run")
@options.progress
def prepare(
    sources: tuple[Path, ...],
    output: Path,
    *,
    annotations: Path | None,
    source: AnnotationOptions,
    splits: list[str] | None,
    outlines: Path | None,
    progress: str,
    **tool_options: Any,
) -> None:
    """Build a dataset from scenes and annotations.

    SOURCE is a folder in the layout of DOTA, with images/ (PNG, JPEG or TIFF) and labelTxt/ (DOTA
    v1.0, v1.5 or v2.0) or with sub-folders train/, val/ ... that have them; or a dataset, to merge
    several. With --annotations, each SOURCE is a scene. OUTPUT becomes a folder of tiled GeoTIFFs,
    annotations.gpkg, which covers them in QGIS, dataset.json, and the validation report report.json.

    After an interruption, repeat the command to continue. With --overwrite, only what has changed is
    written again.
    """
    track = tracker(progress)
    skipped = None
    try:
        if annotations:
            _refuse("with", splits=splits, outlines=outlines)
            if source.colours and source.format in _WITHOUT_COLOURS:
                raise ConfigError(
                    f"--colours: has no effect with --format {source.format}. Leave it out"
                )
            from geoseg.tools.prepare import prepare_scenes

            prepare_scenes(
                sources, output, annotations=annotations, source=source, track=track, **tool_options
            )
        else:
            _refuse(
                "without",
                layer=source.layer,
                colours=source.colours,
                annotated_area=source.annotated_area,
            )
            if files := [path for path in sources if path.is_file()]:
                raise ConfigError(
                    f"{files[0]}: scenes need annotations. Name a file with --annotations"
                )
            from geoseg.tools.prepare import prepare as tool

            tool(sources, output, splits=splits, outlines=outlines, track=track, **tool_options)
    except SkippedInputsError as error:  # the product exists all the same
        skipped = error
    report(output, progress)
    if skipped:
        raise skipped


def _refuse(where: str, **given: object) -> None:
    """Raise ConfigError if one of these options was given."""
    for name, value in given.items():
        if value is not None:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag}: has no effect {where} --annotations. Leave it out")
