"""Base of the geoseg algorithms: a Processing algorithm that runs geoseg in a subprocess."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingFeedback,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterFile,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsRectangle,
)
from qgis.PyQt.QtGui import QIcon

from .files import (
    ScratchOutput,
    export_features,
    is_same_file,
    layer_path,
    load_into_memory,
    name_result,
)
from .i18n import HERE, tr
from .interpreter import find_configured_python
from .process import run_geoseg

Parameters = dict[str, Any]
MAX_CLASS_OUTPUTS = 20
"""Class IDs from 1 to this have a numeric output of their own, for the model designer."""

MEMORY = "memory:"
"""Start of the value of a destination in memory."""


class SubprocessAlgorithm(QgsProcessingAlgorithm):
    """A Processing algorithm that runs geoseg commands.

    A subclass adds its parameters in `initAlgorithm`, runs its commands in `execute`, and returns its outputs
    from `collect_results`. Its name must sort before the names of its bases: QGIS takes the first algorithm
    class of a script.
    """

    OPTIONS: Mapping[str, str] = {}
    """Parameter to the option of the command that takes its value. Error messages show the label of the parameter."""

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

    def add_model(
        self,
        text: str,
        label: str = "Model",
        filters: str = "geoseg models (*.safetensors *.onnx)",
    ) -> None:
        """Add the choice of a model file; empty: the shipped model."""
        self.add(
            QgsProcessingParameterFile("MODEL", tr(label), optional=True, fileFilter=tr(filters)),
            text,
        )

    def add_polygon_layer(self, name: str, label: str, text: str) -> None:
        """Add an optional layer of polygons."""
        polygons = [QgsProcessing.SourceType.TypeVectorPolygon]
        self.add(
            QgsProcessingParameterFeatureSource(name, tr(label), polygons, optional=True), text
        )

    def add_scenes(self, text: str, *, optional: bool = False) -> None:
        """Add a list of scenes."""
        kind = QgsProcessing.SourceType.TypeRaster
        self.add(
            QgsProcessingParameterMultipleLayers("SCENES", tr("Scenes"), kind, optional=optional),
            text,
        )

    def add_annotated_area(self, text: str) -> None:
        """Add the area outside which a scene is not annotated."""
        self.add_polygon_layer("AREA", "Annotated area", text)

    def add_band_list(self) -> None:
        """Add the choice of the bands of a list of scenes."""
        self.add(
            QgsProcessingParameterString("BANDS", tr("Bands"), optional=True),
            "Use these bands of the scenes: numbers or names with commas between them, such as 1,2,3 or red,green,nir. "
            "Empty: all bands except alpha, or those of the initial model.",
            advanced=True,
        )

    def add_bands(self, layer: str) -> None:
        """Add the choice of the bands of a raster parameter."""
        self.add(
            QgsProcessingParameterBand(
                "BANDS",
                tr("Bands"),
                parentLayerParameterName=layer,
                optional=True,
                allowMultiple=True,
            ),
            "Pass these bands to the model, in this order. Empty: all bands except alpha, or those that the model "
            "names.",
            advanced=True,
        )

    def add_pixel_size(self, *, resamples: bool = True) -> None:
        """Add the pixel size of the network, unless `resamples` is false, and that of scenes without a CRS."""
        if resamples:
            self.add_number(
                "GSD",
                "Pixel size for the network (m)",
                "Resample the scene to this pixel size for the network; the results have the grid of the scene. Empty: "
                "the pixel size for which the model was trained. 0: no resampling.",
                advanced=True,
            )
        self.add_number(
            "PIXEL_SIZE",
            "Pixel size of scenes without CRS (m)",
            "Treat pixels of scenes without a coordinate reference system as squares with this side.",
            advanced=True,
        )

    def add_number(
        self,
        name: str,
        label: str,
        text: str,
        default: float | None = None,
        maximum: float | None = None,
        *,
        integer: bool = False,
        advanced: bool = False,
    ) -> None:
        """Add a number from 0 to `maximum`; without a default it is optional."""
        types = QgsProcessingParameterNumber.Type
        number = QgsProcessingParameterNumber(
            name,
            tr(label),
            types.Integer if integer else types.Double,
            default,
            optional=default is None,
            minValue=0,
        )
        if maximum is not None:
            number.setMaximum(maximum)
        self.add(number, text, advanced)

    def add_boolean(
        self, name: str, label: str, text: str, default: bool = False, *, advanced: bool = True
    ) -> None:
        """Add a check box."""
        self.add(QgsProcessingParameterBoolean(name, tr(label), default), text, advanced)

    def add_overwrite(self) -> None:
        """Add the permission to replace existing files."""
        self.add_boolean(
            "OVERWRITE",
            "Replace existing files",
            "Replace output files that exist. Cleared: stop before the run if one exists.",
            default=True,
        )

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
            "environment variable GEOSEG_PYTHON, the setting of the plugin, or the interpreter recorded by geoseg "
            "qgis-install, whichever is set first.",
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
                "No Python with geoseg is configured. Use Set up under Settings, Options, geoseg, run geoseg "
                "qgis-install in the environment of geoseg, or select its Python under Advanced Parameters."
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
        if not isinstance(path, str) or path.startswith((MEMORY, "TEMPORARY")):
            is_memory = isinstance(path, str) and path.startswith(MEMORY)
            if is_memory and definition.type() != "vectorDestination":
                text = tr("{}: cannot be kept in memory. Choose a file.")
                return text.format(definition.description())
            return ""
        if suffixes and not path.lower().endswith(suffixes):
            text = tr("{}: geoseg writes {} files here. Change the extension.")
            return text.format(path, suffixes[0])
        keeps = self.parameterDefinition("OVERWRITE") and not self.parameterAsBool(
            parameters, "OVERWRITE", context
        )
        if keeps and os.path.exists(path):
            text = tr("{}: exists. Choose another name, or check Replace existing files.")
            return text.format(path)
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
        return self.parameterAsString(parameters, "PYTHON", context) or find_configured_python()

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
            results = self.collect_results(run, paths, event)
            for name, path in paths.items():
                self._name_layer(run, name, path)
            layers = {
                name: load_into_memory(paths[name], target, run.context)
                for name, target in run.in_memory.items()
            }
        feedback.setProgress(100)
        return {**paths, **results, **layers}

    def destination_paths(self, run: Run) -> dict[str, str]:
        """Return the path of each destination parameter that has a value; a temporary one for a layer in memory."""
        paths = {}
        for definition in self.destinationParameterDefinitions():
            name = definition.name()
            if not run.parameters.get(name):
                continue
            is_layer = definition.type() in ("vectorDestination", "rasterDestination")
            get = self.parameterAsOutputLayer if is_layer else self.parameterAsFileOutput
            path = get(run.parameters, name, run.context)
            if path.startswith(MEMORY):
                run.in_memory[name] = path
                path = os.path.join(run.folder, f"{name.lower()}.gpkg")
            paths[name] = path
        return paths

    def _name_layer(self, run: Run, name: str, path: str) -> None:
        """Name a result after the scene, if QGIS loads it on completion."""
        scene = run.scene_name()
        if scene:
            label = self.parameterDefinition(name).description()
            name_result(run.in_memory.get(name, path), f"{scene}: {label}", run.context)

    def option_labels(self) -> dict[str, str]:
        """Return the label of the parameter of each option of the commands, quoted for messages."""
        return {
            option.partition(" ")[0]: f"“{self.parameterDefinition(name).description()}”"
            for name, option in self.OPTIONS.items()
            if self.parameterDefinition(name) and not option.endswith("=")
        }

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

    in_memory: dict[str, str]
    """Value of the destinations in memory, such as ``memory:objects``, by the name of their parameter."""

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
        self.folder, self.outputs, self.in_memory = folder, {}, {}
        self._algorithm = algorithm
        self._names: dict[str, str] = {}

    # --- values --------------------------------------------------------------------------------

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

    def number(self, name: str) -> float:
        """Return the value of a number parameter."""
        return float(self._algorithm.parameterAsDouble(self.parameters, name, self.context))

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

    def scene_extent(self, path: str) -> QgsRectangle:
        """Return the extent of a scene of SCENES by its path."""
        layers = self._algorithm.parameterAsLayerList(self.parameters, "SCENES", self.context)
        return next(layer.extent() for layer in layers if layer_path(layer) == path)

    def scene_name(self) -> str:
        """Return the name of the raster INPUT, or "" if the algorithm has none."""
        if self._algorithm.parameterDefinition("INPUT") is None:
            return ""
        layer = self._algorithm.parameterAsRasterLayer(self.parameters, "INPUT", self.context)
        return "" if layer is None else str(layer.name())

    def source(self, name: str) -> QgsProcessingFeatureSource:
        """Return the features of a vector parameter."""
        source = self._algorithm.parameterAsSource(self.parameters, name, self.context)
        if source is None:
            text = self._algorithm.invalidSourceError(self.parameters, name)
            raise QgsProcessingException(text)
        return source

    def export(self, name: str, fields: Sequence[tuple[str, str]] = ()) -> str:
        """Write the features of a vector parameter to a temporary GeoPackage and return its path.

        Messages show the name of the layer instead of this path.
        """
        path = os.path.join(self.folder, f"{name.lower()}.gpkg")
        source = self.source(name)
        self._names[path] = source.sourceName()
        return export_features(source, path, fields, self.context, self.feedback)

    # --- commands ------------------------------------------------------------------------------

    def arguments(self, options: Mapping[str, str]) -> list[str]:
        """Return the arguments of the options whose parameters have a value other than their default."""
        arguments = []
        for name, option in options.items():
            if name in self.outputs:
                arguments += [option, self.outputs[name].scratch]
                continue
            value = self._format(name)
            if value is not None and option.endswith("="):
                arguments += (option + value).split(" ", 1)
            elif value is not None:
                arguments += [*option.split(), *([value] if value else [])]
        return arguments

    def _format(self, name: str) -> str | None:
        """Return the value of a parameter for a command line; "" for a checked box, None for no value."""
        definition = self._algorithm.parameterDefinition(name)
        kind = definition.type() if definition else ""
        if self.parameters.get(name) is None and kind not in ("boolean", "enum"):
            return None
        if kind == "boolean":
            return "" if self.boolean(name) else None
        if kind == "number":
            value = self.number(name)
            unchanged = value == definition.defaultValue()
            return None if unchanged else "none" if name == "GSD" and not value else f"{value:.12g}"
        if kind == "extent":
            return self._format_box(name)
        if kind == "source":
            return self.export(name)
        if kind == "band":
            bands = self._algorithm.parameterAsInts(self.parameters, name, self.context)
            return ",".join(map(str, bands)) or None
        if kind == "raster":
            return self.raster_path(name)
        if kind in ("enum", "string", "file", "field"):
            text = self.string(name)
            return None if kind == "enum" and text == definition.defaultValue() else text or None
        return None

    def _format_box(self, name: str) -> str:
        """Return an extent as ``W,S,E,N`` in the CRS of the raster INPUT."""
        layer = self._algorithm.parameterAsRasterLayer(self.parameters, "INPUT", self.context)
        box = self._algorithm.parameterAsExtent(self.parameters, name, self.context, layer.crs())
        sides = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
        return ",".join(f"{side:.12g}" for side in sides)

    def geoseg(self, arguments: Sequence[str], bounds: Sequence[float]) -> dict[str, Any] | None:
        """Run a geoseg command; see `run_geoseg`."""
        python = self._algorithm.find_python(self.parameters, self.context)
        outputs = self.outputs.values()
        return run_geoseg(
            python,
            arguments,
            self.feedback,
            bounds,
            {**{output.scratch: output.path for output in outputs}, **self._names},
            self._algorithm.option_labels(),
            [self.folder, *(output.folder for output in outputs)],
        )

    def annotated_scenes(self) -> list[str]:
        """Return the arguments for SCENES and ANNOTATIONS: polygons with classes, from the field CLASS, and status."""
        fields = [(self.string("CLASS") or "class", "class")]
        if self.source("ANNOTATIONS").fields().lookupField("status") >= 0:
            fields.append(("status", "status"))
        annotations = self.export("ANNOTATIONS", fields)
        return [*self.layer_paths("SCENES"), "--annotations", annotations]

    def prepare(
        self, dataset: str, options: Sequence[str], bounds: Sequence[float]
    ) -> dict[str, Any] | None:
        """Build a dataset from the parameters SCENES, ANNOTATIONS and CLASS."""
        return self.geoseg(["prepare", *self.annotated_scenes(), *options, "-o", dataset], bounds)
