"""Base of the geoseg algorithms: a Processing algorithm that runs geoseg in a subprocess."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsSettings,
)
from qgis.PyQt.QtGui import QIcon

from .files import ScratchOutput, export_features, is_same_file, layer_path
from .i18n import tr
from .process import run_geoseg

Parameters = dict[str, Any]
HERE = os.path.dirname(os.path.abspath(__file__))
MAX_CLASS_OUTPUTS = 20
"""Class IDs from 1 to this have a numeric output of their own, for the model designer."""


class SubprocessAlgorithm(QgsProcessingAlgorithm):
    """A Processing algorithm that runs geoseg commands.

    A subclass adds its parameters in `initAlgorithm`, runs its commands in `execute`, and returns its outputs
    from `collect_results`. Its name must sort before the names of its bases: QGIS takes the first algorithm
    class of a script.
    """

    SUFFIXES: Mapping[str, tuple[str, ...]] = {
        "vectorDestination": (".gpkg",),
        "rasterDestination": (".tif", ".tiff"),
    }
    """Type of a destination parameter to the file suffixes that it accepts."""

    def createInstance(self) -> SubprocessAlgorithm:
        return type(self)()

    def group(self) -> str:
        return "geoseg"

    def groupId(self) -> str:
        return "geoseg"

    def tags(self) -> list[str]:
        tags = "segmentation,machine learning,deep learning,objects,aerial,satellite,DOTA"
        return tags.split(",")

    def icon(self) -> QIcon:
        path = os.path.join(HERE, "icon.svg")
        return QIcon(path) if os.path.isfile(path) else super().icon()

    # --- parameters ----------------------------------------------------------------------------

    def add(
        self, parameter: QgsProcessingParameterDefinition, text: str, advanced: bool = False
    ) -> None:
        """Add a parameter with its help text."""
        parameter.setHelp(tr(text))
        if advanced:
            flag = QgsProcessingParameterDefinition.Flag.FlagAdvanced
            parameter.setFlags(parameter.flags() | flag)
        self.addParameter(parameter)

    def add_device(self) -> None:
        """Add the choice of a device for the network."""
        devices = ["auto", "cpu", "cuda", "mps"]
        self.add(
            QgsProcessingParameterEnum(
                "DEVICE", tr("Device"), devices, defaultValue="auto", usesStaticStrings=True
            ),
            "Run the network on this device. auto: a supported GPU if there is one, otherwise the CPU.",
            advanced=True,
        )

    def add_python(self) -> None:
        """Add the choice of a Python interpreter."""
        self.add(
            # a filter of *.* would reject names without a dot
            QgsProcessingParameterFile(
                "PYTHON", tr("Python with geoseg"), optional=True, fileFilter="Python (*)"
            ),
            "Run geoseg with this Python interpreter, of the environment in which geoseg is installed. Empty: the "
            "environment variable GEOSEG_PYTHON, the setting of the plugin, the setting geoseg/python or the "
            "interpreter recorded by geoseg qgis-install, whichever is set first.",
            advanced=True,
        )

    # --- checks before a run -------------------------------------------------------------------

    def checkParameterValues(
        self, parameters: Parameters, context: QgsProcessingContext
    ) -> tuple[bool, str]:
        valid, message = super().checkParameterValues(parameters, context)
        if valid:
            message = self.find_error(parameters, context)
        return not message, message

    def find_error(self, parameters: Parameters, context: QgsProcessingContext) -> str:
        """Return the message of the first error in the parameter values, or ""."""
        python = self.find_python(parameters, context)
        if not python:
            return tr(
                "No Python with geoseg is configured. Run geoseg qgis-install in the environment of geoseg, or "
                "select its Python under Advanced Parameters."
            )
        if not os.path.isfile(python):
            text = tr("{}: no such Python. Select another one under Advanced Parameters.")
            return text.format(python)
        for definition in self.parameterDefinitions():
            if not parameters.get(definition.name()):
                continue
            error = ""
            if definition.isDestination():
                error = self._find_destination_error(definition, parameters, context)
            elif definition.type() == "raster":
                error = self._find_raster_error(definition, parameters, context)
            if error:
                return error
        return ""

    def _find_destination_error(
        self,
        definition: QgsProcessingParameterDefinition,
        parameters: Parameters,
        context: QgsProcessingContext,
    ) -> str:
        path = parameters[definition.name()]
        if isinstance(path, QgsProcessingOutputLayerDefinition):
            path = path.sink.staticValue()
        suffixes = self.SUFFIXES.get(definition.type())
        if not (suffixes and isinstance(path, str)) or path.startswith(("memory:", "TEMPORARY")):
            return ""
        if not path.lower().endswith(suffixes):
            text = tr("{}: geoseg writes {} files here. Change the extension.")
            return text.format(path, suffixes[0])
        project = context.project()
        for layer in project.mapLayers().values() if project else ():
            if is_same_file(path, layer_path(layer)):
                text = tr(
                    "{}: is open in this project. Choose another name, or remove the layer {} first."
                )
                return text.format(path, layer.name())
        return ""

    def _find_raster_error(
        self,
        definition: QgsProcessingParameterDefinition,
        parameters: Parameters,
        context: QgsProcessingContext,
    ) -> str:
        layer = self.parameterAsRasterLayer(parameters, definition.name(), context)
        if layer is None or layer.providerType() == "gdal":
            return ""
        text = tr("{}: is not a raster file. Save it as a file first: Export > Save As…")
        return text.format(layer.name())

    def find_python(self, parameters: Parameters, context: QgsProcessingContext) -> str:
        """Return the Python interpreter that has geoseg, or "" if none is configured."""
        settings = QgsSettings()
        for python in (
            self.parameterAsString(parameters, "PYTHON", context),
            os.environ.get("GEOSEG_PYTHON"),
            settings.value("Processing/Configuration/GEOSEG_PYTHON", ""),
            settings.value("geoseg/python", ""),
        ):
            if python:
                return str(python)
        try:
            with open(os.path.join(HERE, "geoseg.json"), encoding="utf-8") as file:
                return str(json.load(file)["python"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    # --- run -----------------------------------------------------------------------------------

    def processAlgorithm(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> dict[str, Any]:
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="geoseg-"))
            run = Run(self, parameters, context, feedback, folder)
            paths = self.destination_paths(run)
            for name, path in paths.items():
                run.outputs[name] = stack.enter_context(ScratchOutput(path))
            event = self.execute(run)
            if event is None:
                return {}
            for output in run.outputs.values():
                output.move()
        feedback.setProgress(100)
        return {**paths, **self.collect_results(run, paths, event)}

    def destination_paths(self, run: Run) -> dict[str, str]:
        """Return the path of each destination parameter that has a value."""
        paths = {}
        for definition in self.destinationParameterDefinitions():
            name = definition.name()
            if not run.parameters.get(name):
                continue
            is_layer = definition.type() in ("vectorDestination", "rasterDestination")
            get = self.parameterAsOutputLayer if is_layer else self.parameterAsFileOutput
            paths[name] = get(run.parameters, name, run.context)
        return paths

    def execute(self, run: Run) -> dict[str, Any] | None:
        """Run the commands of this algorithm; return the last result event, or None if cancelled."""
        raise NotImplementedError

    def collect_results(
        self, run: Run, paths: dict[str, str], event: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the outputs of this algorithm other than the paths of its destinations."""
        raise NotImplementedError


class Run:
    """One run of an algorithm: its parameter values, feedback and files."""

    outputs: dict[str, ScratchOutput]
    """Output files by the name of their parameter."""

    folder: str
    """Temporary folder, deleted at the end."""

    def __init__(
        self,
        algorithm: SubprocessAlgorithm,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
        folder: str,
    ) -> None:
        self.parameters, self.context, self.feedback = parameters, context, feedback
        self.folder, self.outputs = folder, {}
        self._algorithm = algorithm

    def string(self, name: str) -> str:
        """Return the value of a string, field, file or enum parameter."""
        get = self._algorithm.parameterAsString
        definition = self._algorithm.parameterDefinition(name)
        if definition.type() == "enum":
            get = self._algorithm.parameterAsEnumString
        return str(get(self.parameters, name, self.context))

    def boolean(self, name: str) -> bool:
        """Return the value of a boolean parameter."""
        return bool(self._algorithm.parameterAsBool(self.parameters, name, self.context))

    def integer(self, name: str) -> int:
        """Return the value of an integer parameter."""
        return int(self._algorithm.parameterAsInt(self.parameters, name, self.context))

    def number(self, name: str) -> float:
        """Return the value of a number parameter."""
        return float(self._algorithm.parameterAsDouble(self.parameters, name, self.context))

    def bands(self, name: str) -> list[int]:
        """Return the band numbers of a band parameter."""
        return list(self._algorithm.parameterAsInts(self.parameters, name, self.context))

    def raster_path(self, name: str) -> str:
        """Return the path of a raster parameter."""
        layer = self._algorithm.parameterAsRasterLayer(self.parameters, name, self.context)
        if layer is None:
            text = self._algorithm.invalidRasterError(self.parameters, name)
            raise QgsProcessingException(text)
        return layer_path(layer)

    def layer_paths(self, name: str) -> list[str]:
        """Return the paths of a parameter for several layers."""
        layers = self._algorithm.parameterAsLayerList(self.parameters, name, self.context)
        return [layer_path(layer) for layer in layers]

    def bounding_box(self, name: str, raster: str) -> str:
        """Return an extent as ``W,S,E,N`` in the CRS of a raster parameter."""
        layer = self._algorithm.parameterAsRasterLayer(self.parameters, raster, self.context)
        box = self._algorithm.parameterAsExtent(self.parameters, name, self.context, layer.crs())
        sides = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
        return ",".join(f"{side:.12g}" for side in sides)

    def source(self, name: str) -> QgsProcessingFeatureSource:
        """Return the features of a vector parameter."""
        source = self._algorithm.parameterAsSource(self.parameters, name, self.context)
        if source is None:
            text = self._algorithm.invalidSourceError(self.parameters, name)
            raise QgsProcessingException(text)
        return source

    def export(self, name: str, fields: Sequence[tuple[str, str]]) -> str:
        """Write the features of a vector parameter to a temporary GeoPackage and return its path."""
        path = os.path.join(self.folder, f"{name.lower()}.gpkg")
        return export_features(self.source(name), path, fields, self.context, self.feedback)

    def geoseg(
        self,
        arguments: Sequence[str],
        bounds: Sequence[float],
        names: Mapping[str, str] | None = None,
    ) -> dict[str, Any] | None:
        """Run a geoseg command; see `run_geoseg`."""
        python = self._algorithm.find_python(self.parameters, self.context)
        shown = {output.scratch: output.path for output in self.outputs.values()}
        return run_geoseg(python, arguments, self.feedback, bounds, {**shown, **(names or {})})

    def prepare(
        self, dataset: str, options: Sequence[str], bounds: Sequence[float]
    ) -> dict[str, Any] | None:
        """Build a dataset from the parameters SCENES, ANNOTATIONS and CLASS."""
        column = self.string("CLASS") or "class"
        annotations = self.export("ANNOTATIONS", [(column, "class")])
        arguments = ["prepare", *self.layer_paths("SCENES"), "--annotations", annotations]
        names = {annotations: self.source("ANNOTATIONS").sourceName()}
        return self.geoseg([*arguments, *options, "-o", dataset], bounds, names)
