"""``geoseg info``"""

from __future__ import annotations

import json
from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, option

EXAMPLES = """
geoseg info
geoseg info scene.tif
geoseg info model.safetensors --json
"""


@command(EXAMPLES)
@click.argument("path", type=options.PATH, required=False)
@option("--json", "as_json", is_flag=True, group="Output", help="Print JSON.")
def info(path: Path | None, as_json: bool) -> None:
    """Describe PATH: a scene, a model file or a dataset folder.

    Without PATH, describe the shipped model.
    """
    from geoseg.tools.info import describe
    from geoseg.tools.info import info as tool

    if path is None:
        from geoseg.models.model_file import shipped_model

        path = shipped_model()
    facts = tool(path)
    click.echo(json.dumps(facts, indent=1) if as_json else describe(facts))
