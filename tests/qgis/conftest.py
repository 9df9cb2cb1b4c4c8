"""Fixtures of the tests in QGIS's own Python, with a home folder and a QGIS profile of their own.

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
PLUGINS = "/usr/share/qgis/python/plugins"  # of Debian; set QGIS_PLUGINS elsewhere


def pytest_configure(config):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    sys.path.append(os.environ.get("QGIS_PLUGINS", PLUGINS))


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Return a home folder with an empty QGIS profile, and set the environment for it."""
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
    """Return a Python that imports geoseg from this checkout."""
    if not GEOSEG.is_file():
        pytest.skip(f"needs geoseg's own environment: make install ({GEOSEG} does not exist)")
    code = "import geoseg, sys; sys.stdout.write(geoseg.__file__)"
    imported = subprocess.run(
        [str(GEOSEG), "-I", "-c", code], stdout=subprocess.PIPE, text=True, check=False
    )
    if imported.stdout.startswith(str(ROOT)):
        return str(GEOSEG)
    launcher = tmp_path_factory.mktemp("python") / "python"
    launcher.write_text(f'#!/bin/sh\nshift\nPYTHONPATH={ROOT} exec {GEOSEG} "$@"\n')  # without -I
    launcher.chmod(0o755)
    return str(launcher)


@pytest.fixture(scope="session")
def inputs(python, tmp_path_factory):
    """Return the folder that make_inputs.py writes."""
    folder = tmp_path_factory.mktemp("inputs")
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [str(GEOSEG), str(ROOT / "tests" / "qgis" / "make_inputs.py"), str(folder)]
    subprocess.run(command, check=True, env=environment)
    return folder


@pytest.fixture
def folder(inputs, tmp_path):
    """Return a copy of the inputs, whose path has blanks and umlauts: QGIS adds sidecar files to its inputs."""
    copy = tmp_path / "Übungen im Gelände"
    shutil.copytree(str(inputs), str(copy))
    return copy


@pytest.fixture(scope="session")
def qgis(home):
    """Return a QGIS application without windows, with Processing."""
    from qgis.core import QgsApplication

    QgsApplication.setPrefixPath("/usr", True)
    application = QgsApplication([], True)  # panels have widgets
    application.initQgis()
    from processing.core.Processing import Processing

    Processing.initialize()
    return application


@pytest.fixture
def project(qgis):
    """Return the current project, empty."""
    from qgis.core import QgsProject

    project = QgsProject.instance()
    project.clear()
    yield project
    project.clear()
