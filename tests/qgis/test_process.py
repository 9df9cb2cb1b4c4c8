"""qgis_process, scripts and plugin: from outside, as a user or a server runs them."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from conftest import GEOSEG, ROOT

PROGRAM = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
ALGORITHMS = ["evaluatemodel", "segmentscene", "trainmodel", "vectorizelabels"]

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs qgis_process: apt install qgis")


@pytest.fixture(scope="module")
def profiles(home, python, tmp_path_factory):
    """A QGIS configuration of its own, into which `geoseg qgis-install` has put the scripts."""
    folder = tmp_path_factory.mktemp("configuration")
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [str(GEOSEG), "-m", "geoseg", "qgis-install", "--profiles", str(folder / "profiles")]
    (folder / "profiles" / "default").mkdir(parents=True)
    subprocess.run(command, check=True, env=environment)
    note = folder / "profiles" / "default" / "processing" / "scripts" / "geoseg" / "geoseg.json"
    assert json.loads(note.read_text(encoding="utf-8"))["python"]
    note.write_text(json.dumps({"python": python}), encoding="utf-8")  # the one of this checkout
    return folder


def qgis_process(profiles, *arguments):
    environment = dict(os.environ, QGIS_CUSTOM_CONFIG_PATH=str(profiles), LC_ALL="C")
    return subprocess.run(
        [PROGRAM, *arguments],
        check=False,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        timeout=120,
    )


def test_the_scripts_run_from_the_toolbox_on_paths_with_blanks_and_umlauts(profiles, folder):
    listed = qgis_process(profiles, "list").stdout
    for name in ALGORITHMS:
        assert "script:" + name in listed
    done = qgis_process(
        profiles,
        "--json",
        "run",
        "script:segmentscene",
        "--",
        "INPUT={}".format(folder / "my scene.tif"),
        "MODEL={}".format(folder / "colours.safetensors"),
        "OUTPUT={}".format(folder / "Flächen ö.gpkg"),
        "DEVICE=cpu",
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert results["COUNT"] == 100
    assert (folder / "Flächen ö.gpkg").is_file()


def test_a_failing_child_is_a_failing_process_with_geoseg_s_line(profiles, folder):
    done = qgis_process(
        profiles,
        "run",
        "script:segmentscene",
        "--",
        "INPUT={}".format(folder / "my scene.tif"),
        "MODEL={}".format(folder / "none.safetensors"),
        "OUTPUT={}".format(folder / "o.gpkg"),
    )
    assert done.returncode == 1
    assert "none.safetensors: cannot be read" in done.stderr + done.stdout
    assert not (folder / "o.gpkg").exists()


def test_the_plugin_loads_and_runs(profiles, folder, tmp_path, python):
    subprocess.run([str(GEOSEG), str(ROOT / "qgis_plugin" / "build.py"), str(tmp_path)], check=True)
    plugins = profiles / "profiles" / "default" / "python" / "plugins"
    with zipfile.ZipFile(str(tmp_path / "geoseg_qgis.zip")) as archive:
        archive.extractall(str(plugins))
    enabled = qgis_process(profiles, "plugins", "enable", "geoseg_qgis")
    assert enabled.returncode == 0, enabled.stderr
    listed = qgis_process(profiles, "list").stdout
    for name in ALGORITHMS:
        assert "geoseg:" + name in listed
    done = qgis_process(
        profiles,
        "run",
        "geoseg:vectorizelabels",
        "--",
        "INPUT={}".format(folder / "labels.tif"),
        "OUTPUT={}".format(folder / "v.gpkg"),
        f"PYTHON={python}",
    )
    assert done.returncode == 0, done.stderr
    assert "COUNT:\t100" in done.stdout
