"""Build the QGIS plugin: the scripts of qgis_scripts/ with a provider around them, in one zip.

python qgis_plugin/build.py [FOLDER]    write FOLDER/geoseg_qgis.zip (default: dist)
python qgis_plugin/build.py --sync      copy the shared part of geoseg_segment.py into the other scripts
"""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "qgis_scripts").glob("geoseg_*.py"))
SOURCE = ROOT / "qgis_scripts" / "geoseg_segment.py"
PLUGIN = ROOT / "qgis_plugin" / "geoseg_qgis"

_SHARED = re.compile(
    r"^# --- shared by the geoseg scripts, begin.*^# --- shared by [^\n]*, end[^\n]*$", re.M | re.S
)
_ALWAYS = (1980, 1, 1, 0, 0, 0)  # the same files make the same zip


def shared_part(script: Path) -> str:
    """What a script has in common with the others."""
    (part,) = _SHARED.findall(script.read_text(encoding="utf-8"))
    return str(part)


def sync() -> None:
    """Make the shared part of every script that of `SOURCE`."""
    part = shared_part(SOURCE)
    for script in SCRIPTS:
        text = script.read_text(encoding="utf-8")
        script.write_text(_SHARED.sub(lambda _: part, text), encoding="utf-8")


def build(folder: Path) -> Path:
    """Write the zip that QGIS installs, and return its path."""
    version = re.search(
        r'^__version__ = "(.+)"', (ROOT / "geoseg/__init__.py").read_text("utf-8"), re.M
    )
    assert version
    members = {
        path.name: path.read_bytes() for path in [*SCRIPTS, *PLUGIN.glob("*.*"), ROOT / "LICENSE"]
    }
    metadata = members["metadata.txt"].decode("utf-8").replace("@VERSION@", version[1])
    members["metadata.txt"] = metadata.encode("utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "geoseg_qgis.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(members):
            archive.writestr(
                zipfile.ZipInfo(f"geoseg_qgis/{name}", _ALWAYS), members[name], zipfile.ZIP_DEFLATED
            )
    return target


if __name__ == "__main__":
    if sys.argv[1:] == ["--sync"]:
        sync()
    else:
        sys.stdout.write(f"{build(Path(*sys.argv[1:2] or ['dist']))}\n")
