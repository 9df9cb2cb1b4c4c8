"""The plugin in PyQGIS: translation, configured Python, and the environment that it creates and tests."""

import json
import os
import subprocess
import sys
import time
import zipfile

import pytest

pytest.importorskip("qgis.core", reason="needs PyQGIS: apt install qgis")

from conftest import GEOSEG, ROOT
from qgis.core import QgsApplication, QgsSettings
from qgis.PyQt.QtCore import QCoreApplication

sys.path.insert(0, str(ROOT / "qgis_plugin"))


@pytest.fixture
def settings(qgis):
    """Return the settings of QGIS; those of geoseg and the language are removed afterwards."""
    settings = QgsSettings()
    yield settings
    for key in ("geoseg/python", "locale/overrideFlag", "locale/userLocale"):
        settings.remove(key)


def run_task(task, timeout=60):
    """Run a task of QGIS to its end; return its error and its log."""
    ends, log = [], []
    task.ended.connect(ends.append)
    task.logged.connect(log.append)
    task.start()
    wait_for(lambda: ends, timeout)
    return ends[0], log


def wait_for(condition, timeout=60):
    """Process events until a condition holds."""
    end = time.monotonic() + timeout
    while not condition():
        QCoreApplication.processEvents()
        time.sleep(0.02)
        assert time.monotonic() < end


# --- translation --------------------------------------------------------------------------------


def test_labels_and_messages_are_german_in_a_german_qgis(settings):
    from geoseg_qgis.segment import GeosegSegment

    settings.setValue("locale/overrideFlag", True)
    settings.setValue("locale/userLocale", "de")
    assert QgsApplication.locale() == "de"
    algorithm = GeosegSegment()
    algorithm.initAlgorithm({})
    assert algorithm.displayName() == "Szene segmentieren"
    scene = algorithm.parameterDefinition("INPUT")
    assert scene.description() == "Szene"
    assert scene.help().startswith("Diese Rasterdatei lesen")
    settings.setValue("locale/userLocale", "fr")
    assert GeosegSegment().displayName() == "Segment scene"


# --- outcomes of an evaluation ------------------------------------------------------------------


def test_objects_match_misses_and_false_alarms_by_class_and_iou(qgis):
    from geoseg_qgis.outcomes import find_outcomes, leave_out_unannotated
    from qgis.core import QgsGeometry, QgsRectangle

    def box(left, right, top=10):
        return QgsGeometry.fromRect(QgsRectangle(left, 0, right, top))

    reference = [("ship", box(0, 10)), ("ship", box(20, 30)), ("plane", box(40, 50))]
    predicted = [
        ("ship", box(0, 9)),  # IoU 0.9
        ("ship", box(1, 10, 8)),  # IoU 0.72: the annotation has a better match
        ("ship", box(24, 34)),  # IoU 0.43
        ("ship", box(40, 50)),  # another class
    ]
    outcomes = find_outcomes(reference, predicted)
    kinds = [
        (kind, class_name, round(iou, 2) if iou else None) for kind, class_name, _, iou in outcomes
    ]
    assert kinds == [
        ("match", "ship", 0.9),
        ("false alarm", "ship", None),
        ("false alarm", "ship", None),
        ("false alarm", "ship", None),
        ("miss", "ship", None),
        ("miss", "plane", None),
    ]
    ignored = [("ignore", box(20, 32))]
    kept = leave_out_unannotated(predicted, ignored, [box(0, 38)])
    assert kept == predicted[:2]


# --- configured Python --------------------------------------------------------------------------


def test_the_python_is_that_of_the_environment_the_setting_or_the_note(settings, monkeypatch):
    from geoseg_qgis.interpreter import find_configured_python

    assert find_configured_python() == ""
    folder = os.path.join(QgsApplication.qgisSettingsDirPath(), "processing", "scripts", "geoseg")
    os.makedirs(folder)
    note = os.path.join(folder, "geoseg.json")
    with open(note, "w", encoding="utf-8") as file:
        json.dump({"python": "/note/python"}, file)
    try:
        assert find_configured_python() == "/note/python"
        settings.setValue("geoseg/python", "/setting/python")
        assert find_configured_python() == "/setting/python"
        monkeypatch.setenv("GEOSEG_PYTHON", "/environment/python")
        assert find_configured_python() == "/environment/python"
    finally:
        os.remove(note)


# --- environment --------------------------------------------------------------------------------

MAIN = """\
import sys
print("geoseg 9.9")
"""


def write_wheel(folder, main=MAIN):
    """Write a wheel of a package geoseg without dependencies, whose program prints its version."""
    info = "geoseg-9.9.dist-info"
    members = {
        "geoseg/__init__.py": "",
        "geoseg/__main__.py": main,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: geoseg\nVersion: 9.9\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*members, f"{info}/RECORD"])
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(str(folder / "geoseg-9.9-py3-none-any.whl"), "w") as wheel:
        for name, text in {**members, f"{info}/RECORD": record}.items():
            wheel.writestr(name, text)
    return str(folder)


@pytest.fixture
def base(python):
    """Return a Python that can create environments."""
    return str(GEOSEG)


def test_set_up_installs_geoseg_offline_and_replaces_an_earlier_environment(qgis, base, tmp_path):
    from geoseg_qgis.environment import Installation, create_installation_task

    choice = Installation(base, wheels=write_wheel(tmp_path / "wheels"))
    environments = str(tmp_path / "environments")
    (tmp_path / "environments" / "env-old").mkdir(parents=True)
    task, python = create_installation_task(choice, environments)
    error, log = run_task(task, 120)
    assert error == ""
    assert log[-1] == "geoseg 9.9"
    assert os.listdir(environments) == [os.path.basename(os.path.dirname(os.path.dirname(python)))]
    done = subprocess.run(
        [python, "-I", "-m", "geoseg"], check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout == "geoseg 9.9\n"


def test_a_failed_set_up_reports_the_last_line_and_keeps_the_earlier_environment(
    qgis, base, tmp_path
):
    from geoseg_qgis.environment import Installation, create_installation_task

    (tmp_path / "empty").mkdir()
    (tmp_path / "environments" / "env-old").mkdir(parents=True)
    choice = Installation(base, wheels=str(tmp_path / "empty"))
    task, _ = create_installation_task(choice, str(tmp_path / "environments"))
    error, _ = run_task(task, 120)
    assert error.startswith("Install geoseg failed: ERROR: No matching distribution found")
    assert os.listdir(str(tmp_path / "environments")) == ["env-old"]


def test_a_cancelled_set_up_ends_its_process_and_leaves_no_environment(qgis, tmp_path):
    from geoseg_qgis.environment import EnvironmentTask, Step

    program = [sys.executable if "python" in sys.executable else "/usr/bin/python3", "-c"]
    slow = Step("Wait", [*program, "import time\nprint('begun', flush=True)\ntime.sleep(60)"])
    cleaned = []
    task = EnvironmentTask("test", [slow, Step("Never", ["/none"])], cleaned.append)
    ends, log = [], []
    task.ended.connect(ends.append)
    task.logged.connect(log.append)
    task.start()
    wait_for(lambda: "begun" in log)
    begin = time.monotonic()
    task.cancel()
    wait_for(lambda: ends)
    assert time.monotonic() - begin < 10
    assert ends == ["Cancelled."]
    assert cleaned == [False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "/none/python"}, "/none/python: no such program."),
        ({"package": "--index-url=x"}, "--index-url=x: no package."),
        ({"wheels": "/none"}, "/none: no such folder."),
        ({"index_url": "pypi"}, "pypi: no address"),
    ],
)
def test_wrong_choices_are_reported_before_a_set_up(qgis, base, changes, message):
    from geoseg_qgis.environment import Installation, find_installation_error

    choice = Installation(base)
    assert find_installation_error(choice) == ""
    assert find_installation_error(choice._replace(**changes)).startswith(message)


def test_the_base_pythons_are_new_enough(qgis):
    from geoseg_qgis.environment import (
        OLDEST_PYTHON,
        find_base_pythons,
        is_uv,
        read_python_version,
    )

    found = find_base_pythons()
    assert len({os.path.realpath(path) for path in found}) == len(found)
    assert all(is_uv(path) or read_python_version(path) >= OLDEST_PYTHON for path in found)


def test_uv_gets_commands_of_its_own(qgis):
    from geoseg_qgis.environment import Installation, installation_steps

    steps = installation_steps(Installation("/usr/bin/uv", wheels="/w"), "/e")
    assert steps[0].command[:2] == ["/usr/bin/uv", "venv"]
    assert steps[1].command[:3] == ["/usr/bin/uv", "pip", "install"]
    assert steps[1].command[-4:] == ["--no-index", "--find-links", "/w", "geoseg"]


def test_the_check_segments_a_tile_and_leaves_no_files(qgis, python):
    from geoseg_qgis.environment import create_check_task

    task = create_check_task(python)
    folder = json.loads(task._steps[1].command[7])[0]
    error, log = run_task(task, 300)
    assert error == ""
    assert log[1].startswith("geoseg, version ") or log[1].startswith("geoseg ")
    assert not os.path.exists(folder)


def test_the_check_of_a_python_without_geoseg_fails(qgis):
    from geoseg_qgis.environment import create_check_task

    error, _ = run_task(create_check_task("/usr/bin/python3"))
    assert error.startswith("Version of geoseg failed: ImportError: No module named geoseg")
