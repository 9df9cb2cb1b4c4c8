"""Scripts and plugin in qgis_process, as users and servers run them."""

import json
import os
import shutil
import subprocess
import zipfile

import pytest
from conftest import GEOSEG, ROOT

PROGRAM = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
ALGORITHMS = ["evaluatemodel", "segmentscene", "trainmodel", "vectorizelabels"]

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs qgis_process: apt install qgis")


@pytest.fixture(scope="module")
def profiles(home, python, tmp_path_factory):
    """Return a QGIS configuration in which `geoseg qgis-install` has installed the scripts."""
    folder = tmp_path_factory.mktemp("configuration")
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    command = [str(GEOSEG), "-m", "geoseg", "qgis-install", "--profiles", str(folder / "profiles")]
    (folder / "profiles" / "default").mkdir(parents=True)
    subprocess.run(command, check=True, env=environment)
    note = folder / "profiles" / "default" / "processing" / "scripts" / "geoseg" / "geoseg.json"
    assert json.loads(note.read_text(encoding="utf-8"))["python"]
    note.write_text(json.dumps({"python": python}), encoding="utf-8")  # of this checkout
    return folder


def run_qgis_process(profiles, *arguments):
    """Run qgis_process with this configuration, in the C locale."""
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
    listed = run_qgis_process(profiles, "list").stdout
    for name in ALGORITHMS:
        assert "script:" + name in listed
    done = run_qgis_process(
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


def test_a_failing_command_fails_qgis_process_with_the_error_of_geoseg(profiles, folder):
    done = run_qgis_process(
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
    enabled = run_qgis_process(profiles, "plugins", "enable", "geoseg_qgis")
    assert enabled.returncode == 0, enabled.stderr
    listed = run_qgis_process(profiles, "list").stdout
    for name in ALGORITHMS:
        assert "geoseg:" + name in listed
    done = run_qgis_process(
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
