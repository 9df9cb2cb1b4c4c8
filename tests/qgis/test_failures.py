"""Errors and cancellation of the algorithms in PyQGIS: messages, processes and files."""

import os
import signal
import subprocess
import threading
import time

import pytest

pytest.importorskip("qgis.core", reason="needs PyQGIS: apt install qgis")

from algorithms import (
    RecordingFeedback,
    create_context,
    list_hidden,
    list_visible_inputs,
    load_script,
    segment,
)
from conftest import PLUGINS
from qgis.core import QgsProcessingException, QgsRasterLayer, QgsVectorLayer


def find_error(project, python, name="geoseg_segment", **parameters):
    """Return the message of the check before a run."""
    parameters.setdefault("PYTHON", python)
    valid, message = load_script(name).checkParameterValues(parameters, create_context(project))
    assert not valid
    return message


# --- errors -------------------------------------------------------------------------------------


def test_wrong_parameter_values_are_reported_before_a_run(folder, python, project):
    scene, output = str(folder / "my scene.tif"), str(folder / "o.gpkg")
    shapefile = str(folder / "o.shp")
    assert "writes .gpkg" in find_error(project, python, INPUT=scene, OUTPUT=shapefile)
    assert "qgis-install" in find_error(project, "", INPUT=scene, OUTPUT=output)
    assert "no such Python" in find_error(project, "/none/python", INPUT=scene, OUTPUT=output)
    web = QgsRasterLayer("type=xyz&url=http://localhost/{z}/{x}/{y}.png", "web", "wms")
    if web.isValid():
        project.addMapLayer(web)
        assert "Export" in find_error(project, python, INPUT=web.id(), OUTPUT=output)


def test_a_model_file_with_another_suffix_is_reported_before_a_run(folder, python, project):
    error = find_error(
        project,
        python,
        "geoseg_train",
        SCENES=[str(folder / "my scene.tif")],
        ANNOTATIONS=str(folder / "annotations.gpkg"),
        CLASS="what",
        OUTPUT=str(folder / "model.pt"),
    )
    assert "writes .safetensors" in error


def test_an_evaluation_needs_a_dataset_or_scenes_but_not_both(folder, python, project):
    scenes = {
        "SCENES": [str(folder / "my scene.tif")],
        "ANNOTATIONS": str(folder / "annotations.gpkg"),
    }
    for parameters in ({}, {**scenes, "DATASET": str(folder)}):
        error = find_error(project, python, "geoseg_evaluate", **parameters)
        assert error == "Select either a dataset, or scenes and annotations."


def test_a_result_that_is_open_in_the_project_is_not_replaced(folder, python, project):
    results, _ = segment(folder, python, project)
    project.addMapLayer(QgsVectorLayer(results["OUTPUT"], "Objekte", "ogr"))
    scene = str(folder / "my scene.tif")
    error = find_error(project, python, INPUT=scene, OUTPUT=results["OUTPUT"])
    assert "is open in this project" in error
    assert "Objekte" in error


def test_an_error_of_geoseg_is_shown_in_one_line(folder, python, project):
    (folder / "bad.safetensors").write_text("no model")
    before = sorted(os.listdir(str(folder)))
    with pytest.raises(QgsProcessingException) as caught:
        segment(folder, python, project, MODEL=str(folder / "bad.safetensors"))
    message = str(caught.value)
    assert message.startswith(str(folder / "bad.safetensors") + ": damaged, or not a")
    assert "\n" not in message
    assert list_visible_inputs(folder) == before


def test_a_python_without_geoseg_is_reported_with_its_path(folder, python, project):
    with pytest.raises(QgsProcessingException, match="/usr/bin/python3: has no geoseg"):
        segment(folder, "/usr/bin/python3", project)


def write_program(path, text):
    """Write an executable that takes the place of Python."""
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_a_killed_process_is_an_error(folder, project, tmp_path):
    text = "#!/bin/sh\necho 'last line' >&2\nkill -KILL $$\n"
    message = f"ended with code -{int(signal.SIGKILL)}. last line"
    with pytest.raises(QgsProcessingException, match=message):
        segment(folder, write_program(tmp_path / "killed", text), project)
    assert list_hidden(folder) == []


FAILING = """#!/bin/sh
while [ "$1" != -o ]; do shift; done
echo "geoseg: warning: $2: about a file that is deleted" >&2
echo "geoseg: warning: scene.tif: about an input" >&2
echo "geoseg: error: $2: cannot be written" >&2
exit 4
"""


def test_warnings_about_deleted_files_are_omitted_and_errors_name_the_output(
    folder, project, tmp_path
):
    feedback, output = RecordingFeedback(), str(folder / "o.gpkg")
    parameters = {
        "INPUT": str(folder / "my scene.tif"),
        "OUTPUT": output,
        "PYTHON": write_program(tmp_path / "failing", FAILING),
    }
    algorithm = load_script("geoseg_segment")
    with pytest.raises(QgsProcessingException) as caught:
        algorithm.run(parameters, create_context(project), feedback, catchExceptions=False)
    assert str(caught.value) == output + ": cannot be written"
    assert feedback.warnings == ["scene.tif: about an input"]


# --- cancellation -------------------------------------------------------------------------------


def cancel_run(folder, python, project, **parameters):
    """Cancel a run at its first progress; return the seconds until it ends and the process IDs of geoseg."""
    feedback, context = RecordingFeedback(), create_context(project)
    times, processes = {}, []

    def cancel_at_first_progress():
        while not feedback.stages and time.monotonic() < times["begin"] + 60:
            time.sleep(0.05)
        processes.extend(find_processes())
        times["cancel"] = time.monotonic()
        feedback.cancel()

    times["begin"] = time.monotonic()
    watcher = threading.Thread(target=cancel_at_first_progress)
    watcher.start()
    outputs = {"OUTPUT": str(folder / "o.gpkg"), "LABELS": str(folder / "l.tif")}
    values = {**parameters, **outputs, "PYTHON": python}
    results, succeeded = load_script("geoseg_segment").run(values, context, feedback)
    seconds = time.monotonic() - times["cancel"]
    watcher.join()
    assert succeeded
    assert results.get("OUTPUT") is None
    return seconds, processes


def find_processes(parent_id=None):
    """Return the IDs of the child processes, of this or another process, that run geoseg."""
    parent_id = parent_id or os.getpid()
    processes = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                command = file.read()
        except (OSError, ValueError):
            continue
        if parent == parent_id and b"geoseg" in command:
            processes.append(int(entry))
    return processes


def is_alive(process):
    """Return whether a process exists and is no zombie."""
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_cancel_ends_the_process_within_two_seconds_and_leaves_no_file(folder, python, project):
    before = sorted(os.listdir(str(folder)))
    seconds, processes = cancel_run(
        folder,
        python,
        project,
        INPUT=str(folder / "large.tif"),
        MODEL=str(folder / "slow.safetensors"),
        DEVICE="cpu",
    )
    assert seconds < 2
    assert processes
    assert not any(is_alive(process) for process in processes)
    assert list_visible_inputs(folder) == before


UNRESPONSIVE = """#!/usr/bin/python3
# ignores SIGTERM, starts a child process, and leaves temporary files
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "geoseg".replace("geoseg", "100")])
output = sys.argv[sys.argv.index("-o") + 1]
open(output + ".part", "w").write("half")
while True:
    print('{"event": "progress", "done": 1, "total": 9, "text": "segment"}', flush=True)
    time.sleep(0.1)
"""


def test_a_process_that_ignores_sigterm_is_killed(folder, project, tmp_path):
    program = write_program(tmp_path / "unresponsive", UNRESPONSIVE)
    before = sorted(os.listdir(str(folder)))
    seconds, processes = cancel_run(folder, program, project, INPUT=str(folder / "my scene.tif"))
    assert seconds < 2
    assert processes
    assert not any(is_alive(process) for process in processes)
    assert list_visible_inputs(folder) == before


# --- end of QGIS --------------------------------------------------------------------------------

RUN_AND_WAIT = """
import os, sys
sys.path[:0] = [{tests!r}, {plugins!r}]
from qgis.core import QgsApplication, QgsProject
QgsApplication.setPrefixPath("/usr", True)
application = QgsApplication([], False)
application.initQgis()
from processing.core.Processing import Processing
Processing.initialize()
from algorithms import RecordingFeedback, create_context, load_script
feedback = RecordingFeedback()
feedback.progressChanged.connect(lambda _: print("running", flush=True))
load_script("geoseg_segment").run({parameters!r}, create_context(QgsProject.instance()), feedback)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_qgis_ends_the_process_and_removes_its_folders(
    home, folder, python, tmp_path, number
):
    before = sorted(os.listdir(str(folder)))
    scratch = tmp_path / "temporary"
    scratch.mkdir()
    code = RUN_AND_WAIT.format(
        tests=os.path.dirname(os.path.abspath(__file__)),
        plugins=os.environ.get("QGIS_PLUGINS", PLUGINS),
        parameters={
            "INPUT": str(folder / "large.tif"),
            "MODEL": str(folder / "slow.safetensors"),
            "OUTPUT": str(folder / "o.gpkg"),
            "DEVICE": "cpu",
            "PYTHON": python,
        },
    )
    environment = dict(os.environ, TMPDIR=str(scratch))
    qgis = subprocess.Popen(
        ["/usr/bin/python3", "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    with qgis:
        assert qgis.stdout.readline() == "running\n"
        children = find_processes(qgis.pid)
        assert children
        assert any(name.startswith("geoseg-") for name in os.listdir(str(scratch)))
        qgis.send_signal(number)
        qgis.wait()
    end = time.monotonic() + 60
    while any(is_alive(child) for child in children):
        time.sleep(0.1)
        assert time.monotonic() < end
    assert list_visible_inputs(folder) == before
    assert [name for name in os.listdir(str(scratch)) if name.startswith("geoseg-")] == []
