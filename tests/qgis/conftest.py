"""Tests inside QGIS: run by QGIS's own Python, in a process of their own, with a profile of their own.

QT_QPA_PLATFORM=offscreen /usr/bin/python3 -m pytest -c /dev/null tests/qgis
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("qgis.core", reason="needs PyQGIS: apt install qgis")

ROOT = Path(__file__).resolve().parent.parent.parent
GEOSEG = Path(os.environ.get("GEOSEG_TEST_PYTHON", ROOT / ".venv" / "bin" / "python"))
SCRIPTS = ROOT / "qgis_scripts"
PLUGINS = "/usr/share/qgis/python/plugins"  # Debian's; elsewhere QGIS_PLUGINS names it


def pytest_configure(config):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path.append(os.environ.get("QGIS_PLUGINS", PLUGINS))


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home folder with an empty QGIS profile."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "run").mkdir(mode=0o700)
    os.environ.update(
        HOME=str(folder),
        XDG_RUNTIME_DIR=str(folder / "run"),
        QGIS_CUSTOM_CONFIG_PATH=str(folder / "QGIS"),
    )
    os.environ["OMP_NUM_THREADS"] = "1"  # the models are tiny, and the machine may be busy
    for name in ("PYTHONPATH", "GEOSEG_PYTHON"):
        os.environ.pop(name, None)
    return folder


@pytest.fixture(scope="session")
def python(tmp_path_factory):
    """A Python that has the geoseg of this checkout, whatever else is installed."""
    if not GEOSEG.is_file():
        pytest.skip(f"needs geoseg's own environment: make install ({GEOSEG} is not there)")
    code = "import geoseg, sys; sys.stdout.write(geoseg.__file__)"
    found = subprocess.run(
        [str(GEOSEG), "-I", "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    if found.stdout.startswith(str(ROOT)):
        return str(GEOSEG)
    launcher = tmp_path_factory.mktemp("python") / "python"
    launcher.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={ROOT} exec {GEOSEG} "$@"\n')  # without -I
    launcher.chmod(0o755)
    return str(launcher)


@pytest.fixture(scope="session")
def drawn(python, tmp_path_factory):
    """The folder that make_inputs.py has filled."""
    folder = tmp_path_factory.mktemp("drawn")
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [str(GEOSEG), str(ROOT / "tests" / "qgis" / "make_inputs.py"), str(folder)]
    subprocess.run(command, check=True, env=environment)
    return folder


@pytest.fixture
def folder(drawn, tmp_path):
    """A copy of the inputs, in a folder with a blank and umlauts: QGIS writes beside what it opens."""
    copy = tmp_path / "Übungen im Gelände"
    shutil.copytree(str(drawn), str(copy))
    return copy


@pytest.fixture(scope="session")
def qgis(home):
    """QGIS without windows, with Processing."""
    from qgis.core import QgsApplication

    QgsApplication.setPrefixPath("/usr", True)
    application = QgsApplication([], False)
    application.initQgis()
    from processing.core.Processing import Processing

    Processing.initialize()
    return application


@pytest.fixture
def project(qgis):
    """The current project, empty."""
    from qgis.core import QgsProject

    project = QgsProject.instance()
    project.clear()
    yield project
    project.clear()


def load(name, folder=SCRIPTS):
    """The algorithm of a script, loaded as QGIS loads scripts."""
    from processing.script import ScriptUtils

    algorithm = ScriptUtils.loadAlgorithm(name, str(folder / (name + ".py")))
    assert algorithm is not None, f"{name} cannot be loaded as a script"
    algorithm.initAlgorithm({})
    return algorithm
