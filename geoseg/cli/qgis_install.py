"""``geoseg qgis-install``"""

from __future__ import annotations

from pathlib import Path

import click

from geoseg.cli import options
from geoseg.cli.command import command, option

NEXT = """
In QGIS, open Processing > Toolbox: Scripts > geoseg has Segment scene, Vectorize labels, Train model and
Evaluate model. Restart QGIS first if it is open.
"""


EXAMPLES = """
geoseg qgis-install
geoseg qgis-install --profile default
geoseg qgis-install --uninstall
"""


@command(EXAMPLES, name="qgis-install")
@option(
    "--profile",
    metavar="NAME",
    show_default="the profile that QGIS starts with",
    help="Install into this QGIS profile.",
)
@option(
    "--profiles",
    type=options.PATH,
    metavar="FOLDER",
    show_default="the folder of QGIS",
    help="Search profiles in this folder.",
)
@option("--uninstall", is_flag=True, help="Remove the scripts.")
def qgis_install(*, profile: str | None, profiles: Path | None, uninstall: bool) -> None:
    """Add the geoseg algorithms to the toolbox of QGIS.

    Copy the scripts of geoseg into a QGIS profile, with the path of this Python, which runs geoseg.
    """
    from geoseg.tools import qgis

    tool = qgis.qgis_uninstall if uninstall else qgis.qgis_install
    for folder in tool(profile=profile, profiles=profiles):
        click.echo(folder)
    if not uninstall:
        click.echo(NEXT, err=True)
