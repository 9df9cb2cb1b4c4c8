"""The Python environment of geoseg: create it, install geoseg in it, and test it, in the background."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from qgis.core import QgsApplication, QgsProcessingException, QgsTask
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtGui import QImage

from .i18n import tr
from .process import Child, geoseg_command

OLDEST_PYTHON = (3, 11)
"""Oldest Python that geoseg supports."""


class Installation(NamedTuple):
    """Where to install geoseg from."""

    base: str
    """Python interpreter, 3.11 or newer, or the program uv."""

    package: str = "geoseg"
    """Requirement, wheel or source folder."""

    index_url: str = ""
    """URL of the package index; "": that of pip."""

    extra_index_url: str = ""
    """URL of an additional index, for example of PyTorch without CUDA."""

    wheels: str = ""
    """Folder of wheels; if set, no index is used."""


class Step(NamedTuple):
    """A command of a task."""

    title: str
    command: list[str]


# --- base interpreters -----------------------------------------------------------------------------


def find_base_pythons() -> list[str]:
    """Return programs that can create an environment: uv, then interpreters that are new enough."""
    names = [f"python3.{minor}" for minor in range(14, OLDEST_PYTHON[1] - 1, -1)]
    paths = [shutil.which(name) or "" for name in ("uv", *names, "python3", "python")]
    # python.exe of QGIS on Windows; sys.executable may be QGIS itself
    paths.append(os.path.join(sys.exec_prefix, "python.exe"))
    programs = {os.path.realpath(path): path for path in reversed(paths) if os.path.isfile(path)}
    return [
        path
        for path in reversed(list(programs.values()))
        if is_uv(path) or read_python_version(path) >= OLDEST_PYTHON
    ]


def read_python_version(python: str) -> tuple[int, int]:
    """Return the version of an interpreter, (0, 0) if it does not run."""
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "timeout": 10}
    if sys.platform == "win32":
        options["creationflags"] = subprocess.CREATE_NO_WINDOW
    try:
        done = subprocess.run([python, "-I", "--version"], check=False, **options)
    except (OSError, subprocess.SubprocessError):
        return 0, 0
    version = re.match(rb"Python (\d+)\.(\d+)", done.stdout)
    return (int(version[1]), int(version[2])) if version else (0, 0)


def is_uv(program: str) -> bool:
    """Return whether a program is uv."""
    return os.path.splitext(os.path.basename(program))[0] == "uv"


# --- commands --------------------------------------------------------------------------------------


def environments_folder() -> str:
    """Return the folder of the environments that the plugin creates, in the profile of QGIS."""
    return os.path.join(QgsApplication.qgisSettingsDirPath(), "geoseg")


def environment_python(folder: str) -> str:
    """Return the path of the interpreter of an environment."""
    if sys.platform == "win32":
        return os.path.join(folder, "Scripts", "python.exe")
    return os.path.join(folder, "bin", "python")


def find_installation_error(installation: Installation) -> str:
    """Return what is wrong with the choices of an installation, or ""."""
    base, package, wheels = installation.base, installation.package, installation.wheels
    if not os.path.isfile(base):
        return tr("{}: no such program. Select Python 3.11 or newer, or uv.").format(base)
    if not is_uv(base) and read_python_version(base) < OLDEST_PYTHON:
        return tr("{}: is older than Python 3.11 or does not run. Select another one.").format(base)
    if not package or package.startswith("-"):
        return tr(
            "{}: no package. Enter geoseg, or the path of its wheel or source folder."
        ).format(package)
    if wheels and not os.path.isdir(wheels):
        return tr("{}: no such folder. Select a folder of wheels, or leave it empty.").format(
            wheels
        )
    for url in (installation.index_url, installation.extra_index_url):
        if url and not re.match(r"(https?|file)://\S+$", url):
            return tr("{}: no address of a package index, such as https://…").format(url)
    return ""


def installation_steps(installation: Installation, folder: str) -> list[Step]:
    """Return the commands that create an environment in a folder and install geoseg in it."""
    base, python = installation.base, environment_python(folder)
    if is_uv(base):
        create = [base, "venv", "--python", ">=3.11", folder]
        install = [base, "pip", "install", "--python", python]
    else:
        create = [base, "-I", "-m", "venv", folder]
        install = [python, "-I", "-m", "pip", "install", "--disable-pip-version-check"]
    if installation.wheels:
        install += ["--no-index", "--find-links", installation.wheels]
    else:
        install += ["--index-url", installation.index_url] if installation.index_url else []
        install += (
            ["--extra-index-url", installation.extra_index_url]
            if installation.extra_index_url
            else []
        )
    return [
        Step(tr("Create environment"), create),
        Step(tr("Install geoseg"), [*install, installation.package]),
        version_step(python),
    ]


def version_step(python: str) -> Step:
    """Return the command that prints the version of geoseg."""
    return Step(tr("Version of geoseg"), [*geoseg_command(python), "--version"])


def check_steps(python: str, folder: str) -> list[Step]:
    """Return the commands that test an environment: the version, and the segmentation of one tile into a folder."""
    tile = os.path.join(folder, "tile.png")
    image = QImage(256, 256, QImage.Format.Format_RGB888)
    image.fill(0x808080)
    image.save(tile)
    polygons = os.path.join(folder, "polygons.gpkg")
    segment = ["segment", tile, "-o", polygons, "--gsd", "none", "--device", "cpu"]
    return [
        version_step(python),
        Step(tr("Segment one tile"), [*geoseg_command(python, [folder]), *segment]),
    ]


# --- tasks -----------------------------------------------------------------------------------------


class EnvironmentTask(QgsTask):
    """Runs commands one after the other, in the background.

    `logged` receives each line of their output, `ended` an error message, "" after success, in the thread of QGIS's
    window. Cancelling ends the running command.
    """

    logged = pyqtSignal(str)
    ended = pyqtSignal(str)

    _running: ClassVar[set[EnvironmentTask]] = set()
    """QGIS holds no reference to the Python part of a task."""

    def __init__(
        self, description: str, steps: Sequence[Step], clean: Callable[[bool], None]
    ) -> None:
        super().__init__(description, QgsTask.Flag.CanCancel)
        self._steps, self._clean = steps, clean
        self._error = ""

    def start(self) -> None:
        """Run the commands in the background."""
        self._running.add(self)
        QgsApplication.taskManager().addTask(self)

    def run(self) -> bool:
        """Run the commands; called by QGIS in a thread of its own."""
        succeeded = False
        try:
            succeeded = all(map(self._run_step, self._steps))
        except (OSError, QgsProcessingException) as error:
            self._error = str(error)
        finally:
            self._clean(succeeded)
        return succeeded

    def _run_step(self, step: Step) -> bool:
        self.logged.emit(f"{step.title}…")
        child, last = Child(step.command), ""
        try:
            for _, line in child.lines():
                if self.isCanceled():
                    self._error = tr("Cancelled.")
                    return False
                if line:
                    last = line
                    self.logged.emit(line)
            code = child.wait()
        finally:
            child.stop()
        if code:
            self._error = tr("{} failed: {}").format(step.title, last or code)
        return code == 0

    def finished(self, result: bool) -> None:
        """Report the end; called by QGIS in the thread of its window."""
        self._running.discard(self)
        self.ended.emit("" if result else self._error or tr("Cancelled."))


def create_installation_task(
    installation: Installation, folder: str | None = None
) -> tuple[EnvironmentTask, str]:
    """Return a task that creates a new environment, and its interpreter.

    The new environment is a folder of its own in `folder`, by default that of the profile. Earlier ones are deleted
    after success, and it is deleted after a failure.
    """
    parent = folder or environments_folder()
    os.makedirs(parent, exist_ok=True)
    new = tempfile.mkdtemp(prefix="env-", dir=parent)

    def clean(succeeded: bool) -> None:
        earlier = [os.path.join(parent, name) for name in os.listdir(parent)]
        for path in earlier if succeeded else [new]:
            if os.path.basename(path).startswith("env-") and (path != new or not succeeded):
                shutil.rmtree(path, ignore_errors=True)

    steps = installation_steps(installation, new)
    task = EnvironmentTask(tr("Set up geoseg"), steps, clean)
    return task, environment_python(new)


def create_check_task(python: str) -> EnvironmentTask:
    """Return a task that tests an environment."""
    folder = tempfile.mkdtemp(prefix="geoseg-")
    steps = check_steps(python, folder)
    return EnvironmentTask(
        tr("Test geoseg"), steps, lambda _: shutil.rmtree(folder, ignore_errors=True)
    )
