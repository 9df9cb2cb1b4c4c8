"""Find the objects in a scene and outline them: geoseg in the Processing toolbox of QGIS 3.22 and later.

Self-contained: put it into the toolbox with "Add Script to Toolbox", or run `geoseg qgis-install`. It imports
nothing from geoseg, but runs it in a process of its own, whose Python QGIS does not share.
"""

# --- shared by the geoseg scripts, begin: `python qgis_plugin/build.py --sync` keeps the copies equal ---

import json
import os
import queue
import shlex
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
from contextlib import closing
from urllib.parse import quote

from qgis.core import (
    QgsFeature,
    QgsFeatureRequest,
    QgsFields,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingLayerPostProcessorInterface,
    QgsProcessingOutputLayerDefinition,
    QgsProcessingOutputNumber,
    QgsProcessingOutputString,
    QgsProcessingParameterBand,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProviderRegistry,
    QgsSettings,
    QgsVectorFileWriter,
)
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QIcon

CLEAN = (
    "PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONEXECUTABLE GDAL_DATA GDAL_DRIVER_PATH PROJ_LIB PROJ_DATA "
    "QT_PLUGIN_PATH QT_QPA_PLATFORM_PLUGIN_PATH LD_LIBRARY_PATH DYLD_LIBRARY_PATH DYLD_FRAMEWORK_PATH "
    "__PYVENV_LAUNCHER__ VIRTUAL_ENV"
).split()
"""Variables that QGIS sets for its own Python and libraries, and that would mislead another."""

PATIENCE = 1.5
"""Seconds that a child gets to clean up after it was cancelled."""

ERROR, WARNING = "geoseg: error: ", "geoseg: warning: "

_styled = []  # QGIS keeps no reference to a post processor, and uses each for one layer only


def tr(text):
    """The text in the user's language."""
    return QCoreApplication.translate("geoseg", text)


class _Stylist(QgsProcessingLayerPostProcessorInterface):
    """Gives a result the style that came with it; Processing itself does not."""

    def postProcessLayer(self, layer, context, feedback):
        layer.loadDefaultStyle()
        layer.triggerRepaint()


class _Output:
    """A file to make. It is written into a hidden folder beside its place, and moved there with what belongs
    to it when all is done; whatever happens, the folder goes.
    """

    def __init__(self, path):
        self.path = os.path.abspath(path)
        folder, self.name = os.path.split(self.path)
        try:
            self.folder = tempfile.mkdtemp(prefix=".geoseg-", dir=folder)
        except OSError as error:
            raise QgsProcessingException("{}: cannot be written: {}".format(path, error.strerror))
        self.scratch = os.path.join(self.folder, self.name)

    def finish(self):
        for companion in ("-wal", "-shm", "-journal"):  # of a former file
            if os.path.exists(self.path + companion):
                os.remove(self.path + companion)
        place = os.path.dirname(self.path)
        made = [name for name in os.listdir(self.folder) if not name.startswith(".")]
        for name in sorted(made, key=lambda name: name == self.name):
            target = os.path.join(place, name)
            if os.path.isdir(target) and os.path.isfile(os.path.join(target, "dataset.json")):
                shutil.rmtree(target)
            os.replace(os.path.join(self.folder, name), target)

    def discard(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class _Geoseg(QgsProcessingAlgorithm):
    """What the geoseg algorithms have in common: they run geoseg in a process of its own."""

    def createInstance(self):
        return type(self)()

    def group(self):
        return "geoseg"

    def groupId(self):
        return "geoseg"

    def tags(self):
        return "segmentation,machine learning,deep learning,objects,aerial,satellite,DOTA".split(
            ","
        )

    def icon(self):
        beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "icon.svg")
        return QIcon(beside) if os.path.isfile(beside) else super().icon()

    def add(self, parameter, text, advanced=False):
        """Add a parameter with its help."""
        parameter.setHelp(tr(text))
        if advanced:
            flag = QgsProcessingParameterDefinition.Flag.FlagAdvanced
            parameter.setFlags(parameter.flags() | flag)
        self.addParameter(parameter)

    def add_common(self, device=True):
        """Add the parameters that every geoseg algorithm ends with."""
        if device:
            parameter = QgsProcessingParameterEnum(
                "DEVICE", tr("Compute on"), ["auto", "cpu", "cuda", "mps"],
                defaultValue="auto", usesStaticStrings=True,
            )  # fmt: skip
            self.add(
                parameter,
                "Where the network runs. auto takes a graphics card where there is one that it can use.",
                advanced=True,
            )
        parameter = QgsProcessingParameterFile(
            # the usual filter, *.*, would refuse a name without a dot
            "PYTHON",
            tr("Python that has geoseg"),
            optional=True,
            fileFilter="Python (*)",
        )
        self.add(
            parameter,
            "The Python of the environment in which geoseg is installed. Usually empty: `geoseg "
            "qgis-install` has written it down. Else the variable GEOSEG_PYTHON or the setting "
            "geoseg/python count.",
            advanced=True,
        )

    def add_polygons(self):
        """Add the destination of polygons, how they are made, and what is counted."""
        self.add(
            QgsProcessingParameterNumber(
                "MIN_AREA", tr("Smallest area (m²)"), QgsProcessingParameterNumber.Type.Double,
                0, minValue=0,
            ),
            "Polygons smaller than this on the ground are left out. 0 keeps all.",
        )  # fmt: skip
        self.add(
            QgsProcessingParameterNumber(
                "MIN_PIXELS", tr("Smallest area (pixels)"),
                QgsProcessingParameterNumber.Type.Integer, 0, minValue=0,
            ),
            "Polygons of fewer pixels are left out. 0 keeps all.",
            advanced=True,
        )  # fmt: skip
        self.add(
            QgsProcessingParameterNumber(
                "SIMPLIFY", tr("Simplify (pixels)"), QgsProcessingParameterNumber.Type.Double,
                0, minValue=0,
            ),
            "How far outlines may move to become simpler, in pixels. Neighbours keep their common border. 0 "
            "follows the edges of pixels exactly.",
        )  # fmt: skip
        self.add(
            QgsProcessingParameterBoolean("STYLE", tr("Style results on load"), True),
            "Show results in the colours of their classes.",
        )
        polygons = QgsProcessingParameterVectorDestination(
            "OUTPUT", tr("Polygons"), QgsProcessing.SourceType.TypeVectorPolygon
        )
        polygons.setSupportsNonFileBasedOutput(False)
        self.add(
            polygons,
            "A GeoPackage (.gpkg): one polygon per object, with class, class_id, confidence (0 to 1), "
            "pixels and area_m2.",
        )
        self.addOutput(QgsProcessingOutputNumber("COUNT", tr("Number of polygons")))
        self.addOutput(QgsProcessingOutputString("COUNTS", tr("Polygons by class, as JSON")))
        for number in range(1, NUMBERED + 1):
            text = tr("Number of polygons of class {}").format(number)
            self.addOutput(QgsProcessingOutputNumber("COUNT_{}".format(number), text))

    def polygon_options(self, parameters, context):
        """What `add_polygons` asks for, as options of the command."""
        options = []
        for name, option in (
            ("MIN_AREA", "--min-area"), ("MIN_PIXELS", "--min-pixels"), ("SIMPLIFY", "--simplify"),
        ):  # fmt: skip
            value = self.parameterAsDouble(parameters, name, context)
            if value > 0:
                options += [option, "{:.12g}".format(value)]
        return options

    def counts(self, path):
        """The numbers of the polygons in a GeoPackage: those in all, by id, and by name as JSON."""
        uri = "file:{}?mode=ro".format(quote(path.replace(os.sep, "/")))
        with closing(sqlite3.connect(uri, uri=True)) as database:
            rows = database.execute(
                'SELECT class_id, class, COUNT(*) FROM segments GROUP BY class_id, "class" ORDER BY 1'
            ).fetchall()
        numbers = {"COUNT_{}".format(number): 0 for number in range(1, NUMBERED + 1)}
        numbers.update({"COUNT_{}".format(number): count for number, _, count in rows})
        named = json.dumps({name: count for _, name, count in rows}, ensure_ascii=False)
        return dict(numbers, COUNT=sum(row[2] for row in rows), COUNTS=named)

    # --- checks --------------------------------------------------------------------------------

    def checkParameterValues(self, parameters, context):
        good, message = super().checkParameterValues(parameters, context)
        if good:
            message = self.problem(parameters, context) or ""
        return not message, message

    def problem(self, parameters, context):
        """What speaks against a start, or None."""
        python = self.python(parameters, context)
        if not python:
            return tr(
                "No Python with geoseg is known. Run `geoseg qgis-install` in the environment that has "
                "geoseg, or name its Python under Advanced Parameters."
            )
        if not os.path.isfile(python):
            return tr("{}: there is no such Python. Correct it under Advanced Parameters.").format(
                python
            )
        for definition in self.parameterDefinitions():
            value = parameters.get(definition.name())
            if value and definition.isDestination():
                problem = self.destination_problem(definition, parameters, context)
            elif value and definition.type() == "raster":
                problem = self.raster_problem(definition, parameters, context)
            else:
                problem = None
            if problem:
                return problem
        return None

    def destination_problem(self, definition, parameters, context):
        extension = {"vectorDestination": ".gpkg", "rasterDestination": ".tif"}.get(
            definition.type()
        )
        value = parameters[definition.name()]
        if isinstance(value, QgsProcessingOutputLayerDefinition):
            value = value.sink.staticValue()
        if (
            not extension
            or not isinstance(value, str)
            or value.startswith(("memory:", "TEMPORARY"))
        ):
            return None
        if not value.lower().endswith((extension, extension + "f")):
            return tr("{}: geoseg writes {} files. Give it a name that ends so.").format(
                value, extension
            )
        project = context.project()
        for layer in project.mapLayers().values() if project else ():
            if os.path.exists(value) and _path_of(layer) and _same(_path_of(layer), value):
                return tr(
                    "{}: is open in this project. Choose another name, or remove the layer {} first."
                ).format(value, layer.name())
        return None

    def raster_problem(self, definition, parameters, context):
        layer = self.parameterAsRasterLayer(parameters, definition.name(), context)
        if layer is not None and layer.providerType() != "gdal":
            return tr("{}: is no file on this machine. Save it first: Export > Save As…").format(
                layer.name()
            )
        return None

    def raster(self, parameters, name, context):
        """Path of the file of a raster parameter."""
        layer = self.parameterAsRasterLayer(parameters, name, context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, name))
        return _path_of(layer)

    # --- files ---------------------------------------------------------------------------------

    def written(self, source, path, fields, context, feedback):
        """Write the features of a source, with the fields named so, to a GeoPackage."""
        wanted = QgsFields()
        numbers = []
        for name, alias in fields:
            numbers.append(source.fields().lookupField(name))
            field = source.fields().at(numbers[-1])
            field.setName(alias)
            wanted.append(field)
        options = QgsVectorFileWriter.SaveVectorOptions()
        options.driverName, options.fileEncoding = "GPKG", "UTF-8"
        writer = QgsVectorFileWriter.create(
            path, wanted, source.wkbType(), source.sourceCrs(), context.transformContext(), options
        )
        # geoseg puts crossing outlines in order itself
        flag = QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks
        for number, feature in enumerate(source.getFeatures(QgsFeatureRequest(), flag)):
            if number % 1000 == 0 and feedback.isCanceled():
                break
            copy = QgsFeature(wanted)
            copy.setGeometry(feature.geometry())
            copy.setAttributes([feature.attribute(n) for n in numbers])
            if not writer.addFeature(copy):
                raise QgsProcessingException(writer.errorMessage())
        del writer
        return path

    def show(self, path, parameters, context):
        """Give a result that QGIS will load the style that lies in it or beside it."""
        if context.willLoadLayerOnCompletion(path) and self.parameterAsBool(
            parameters, "STYLE", context
        ):
            stylist = _Stylist()
            _styled.append(stylist)
            context.layerToLoadOnCompletionDetails(path).setPostProcessor(stylist)

    # --- the child -----------------------------------------------------------------------------

    def python(self, parameters, context):
        """The Python that has geoseg: as the user says, as the environment says, as the settings say, or as
        `geoseg qgis-install` has noted beside this file.
        """
        settings = QgsSettings()
        for python in (
            self.parameterAsString(parameters, "PYTHON", context),
            os.environ.get("GEOSEG_PYTHON"),
            settings.value("Processing/Configuration/GEOSEG_PYTHON", ""),
            settings.value("geoseg/python", ""),
        ):
            if python:
                return str(python)
        note = os.path.join(os.path.dirname(os.path.abspath(__file__)), "geoseg.json")
        try:
            with open(note, encoding="utf-8") as file:
                return str(json.load(file)["python"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def geoseg(self, python, arguments, feedback, stages, outputs=(), names=None):
        """Run a geoseg command and return its result line, a dict; None when the user has cancelled.

        `stages` maps the text of a stage to the percents at which it begins and ends; `names` tells what to call
        other files that the user does not know.
        """
        places = dict(names or {}, **{output.scratch: output.path for output in outputs})
        shown = [places.get(argument, argument) for argument in arguments]
        feedback.pushCommandInfo(
            " ".join(shlex.quote(part) for part in [python, "-m", "geoseg", *shown])
        )
        command = [python, "-I", "-u", "-X", "utf8", "-m", "geoseg", *arguments]
        command += ["--progress", "json"]
        try:
            child = subprocess.Popen(command, **_process_options())
        except OSError as error:
            raise QgsProcessingException("{}: cannot be started: {}".format(python, error.strerror))
        try:
            return self.listen(child, feedback, stages, places)
        finally:
            _stop(child)

    percent, stage = 0.0, ""

    def listen(self, child, feedback, stages, places):
        """Pass on what the child says until it ends or the user cancels."""
        lines = queue.Queue()
        threads = [
            threading.Thread(target=_read, args=(stream, said, lines), daemon=True)
            for stream, said in ((child.stdout, "out"), (child.stderr, "err"))
        ]
        child.readers = threads
        for thread in threads:
            thread.start()
        result, error, last, going = {}, "", "", 2
        while going:
            if feedback.isCanceled():
                return None
            try:
                said, line = lines.get(timeout=0.1)
            except queue.Empty:
                continue
            if line is None:
                going -= 1
            elif said == "out":
                result = self.event(line, feedback, stages) or result
            elif line.startswith(ERROR):
                error = line[len(ERROR) :]
                for scratch, place in places.items():
                    error = error.replace(scratch, place)
            elif line.startswith(WARNING):
                # what could be gone on with goes with the hidden folder
                if ": unfinished. " not in line:
                    feedback.pushWarning(line[len(WARNING) :])
            else:
                last = line
                feedback.pushConsoleInfo(line)
        code = child.wait()
        if code == 6:  # the product is there, without some of the inputs
            feedback.pushWarning(error)
        elif code:
            raise QgsProcessingException(error or self.failure(child, code, last))
        return result

    def failure(self, child, code, last):
        if last.endswith("No module named geoseg"):
            return tr("{}: has no geoseg. Name another Python under Advanced Parameters.").format(
                child.args[0]
            )
        return tr("geoseg has ended with code {}. {}").format(code, last)

    def event(self, line, feedback, stages):
        """Pass on what a line of stdout tells; return it if it is the result."""
        try:
            event = json.loads(line)
            kind = event["event"]
        except (ValueError, KeyError, TypeError):
            feedback.pushConsoleInfo(line)
            return None
        if kind == "progress":
            text = event.get("text") or ""
            begin, end = stages.get(text.partition(",")[0], (self.percent, self.percent))
            if event.get("total"):
                self.percent = max(
                    self.percent, begin + (end - begin) * event["done"] / event["total"]
                )
            if text != self.stage:
                feedback.setProgressText(text)
            self.stage = text
            feedback.setProgress(self.percent)
        return event if kind == "result" else None


def _path_of(layer):
    """The file of a layer, or None where it has none."""
    if layer.providerType() not in ("gdal", "ogr"):
        return None
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    return (
        (parts.get("vsiPrefix") or "") + (parts.get("path") or "") + (parts.get("vsiSuffix") or "")
    )


def _same(one, other):
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _process_options():
    options = {
        "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE,
        "encoding": "utf-8", "errors": "replace",
        "env": {name: value for name, value in os.environ.items() if name not in CLEAN},
    }  # fmt: skip
    if os.name == "nt":
        options["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    else:
        options["start_new_session"] = True  # so that its own children can be ended with it
    return options


def _read(stream, said, lines):
    for line in stream:
        lines.put((said, line.rstrip("\r\n")))
    lines.put((said, None))


def _stop(child):
    """End the child with all of its children: asked first, then forced."""
    if child.poll() is None:
        _signal(child, force=os.name == "nt")
        try:
            child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            _signal(child, force=True)
            child.wait()
    for thread, stream in zip(child.readers, (child.stdout, child.stderr)):
        thread.join(1)
        if not thread.is_alive():
            stream.close()


def _signal(child, force):
    if os.name == "nt":
        subprocess.run(
            ["taskkill", "/T", "/F", "/PID", str(child.pid)], check=False, capture_output=True,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )  # fmt: skip
        return
    try:
        os.killpg(child.pid, signal.SIGKILL if force else signal.SIGTERM)
    except ProcessLookupError:
        pass


NUMBERED = 20
"""Classes whose polygons are counted in an output of their own, by id."""

# --- shared by the geoseg scripts, end -------------------------------------------------------------------


class GeosegSegment(_Geoseg):
    """``geoseg segment``"""

    def name(self):
        return "segmentscene"

    def displayName(self):
        return tr("Segment scene")

    def shortDescription(self):
        return tr("Find the objects in an aerial or satellite scene and outline them")

    def shortHelpString(self):
        return tr(
            "<p>Finds objects in an aerial or satellite scene, of any size, and makes polygons of them, in the "
            "colours of their classes.</p><p>The model that ships with geoseg knows planes, ships, storage "
            "tanks, courts, pitches, harbours, bridges, vehicles, roundabouts and pools on scenes whose pixels "
            "measure 0.1 to 0.8 m, and is for academic, non-commercial use; <i>Train model</i> makes one of "
            "your own.</p><p>The scene is a file on this machine with the bands that the model was trained "
            "on. A run can be cancelled at any time and then leaves nothing behind.</p>"
        )

    def initAlgorithm(self, configuration=None):
        self.add(
            QgsProcessingParameterRasterLayer("INPUT", tr("Scene")),
            "An aerial or satellite picture, as a file: GeoTIFF, PNG, JPEG or JPEG 2000.",
        )
        self.add(
            QgsProcessingParameterFile(
                "MODEL", tr("Model"), optional=True, fileFilter=tr("geoseg models (*.safetensors)")
            ),
            "A model file made by geoseg. Empty: the model that ships with geoseg.",
        )
        self.add(
            QgsProcessingParameterExtent("EXTENT", tr("Only within this extent"), optional=True),
            "Nothing is searched outside. Empty: the whole scene.",
        )
        self.add(
            QgsProcessingParameterFeatureSource(
                "MASK", tr("Only within these polygons"),
                [QgsProcessing.SourceType.TypeVectorPolygon], optional=True,
            ),
            "A polygon layer; nothing is found outside its polygons. Empty: the whole scene.",
        )  # fmt: skip
        self.add(
            QgsProcessingParameterBand(
                "BANDS",
                tr("Bands"),
                parentLayerParameterName="INPUT",
                optional=True,
                allowMultiple=True,
            ),
            "The bands that the model gets, in its order. Empty: all but the transparent one.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean("EXACT", tr("Read the model's whole context"), False),
            "Labels then do not depend at all on how the scene is cut into tiles. Slower.",
            advanced=True,
        )
        self.add(
            QgsProcessingParameterBoolean("TTA", tr("Look in eight orientations"), False),
            "Turned and mirrored, and the mean counts: somewhat better, eight times as slow.",
            advanced=True,
        )
        self.add_polygons()
        for name, text, help_text in (
            ("LABELS", "Labels", "The class of every pixel, as a GeoTIFF in the classes' colours."),
            (
                "CONFIDENCE",
                "Confidence",
                "How sure the model is of every pixel: 0 to 200 means 0 to 1.",
            ),
        ):
            self.add(
                QgsProcessingParameterRasterDestination(
                    name, tr(text), optional=True, createByDefault=False
                ),
                help_text,
            )
        self.add_common()

    def processAlgorithm(self, parameters, context, feedback):
        made = {
            name: self.parameterAsOutputLayer(parameters, name, context)
            for name in ("OUTPUT", "LABELS", "CONFIDENCE")
            if parameters.get(name)
        }
        outputs = {}
        try:
            for name, path in made.items():
                outputs[name] = _Output(path)
            arguments = self.arguments(parameters, context, feedback, outputs)
            stages = {"segment": (1, 85), "vectorize": (85, 98)}
            python = self.python(parameters, context)
            done = self.geoseg(python, arguments, feedback, stages, outputs.values())
            if done is None:
                return {}
            for output in outputs.values():
                output.finish()
        finally:
            for output in outputs.values():
                output.discard()
        feedback.setProgress(100)
        for path in made.values():
            self.show(path, parameters, context)
        return dict(self.counts(made["OUTPUT"]), **made)

    def arguments(self, parameters, context, feedback, outputs):
        """The command, without the name of the program."""
        arguments = ["segment", self.raster(parameters, "INPUT", context)]
        arguments += ["-o", outputs["OUTPUT"].scratch]
        for name, option in (("LABELS", "--labels"), ("CONFIDENCE", "--confidence")):
            if name in outputs:
                arguments += [option, outputs[name].scratch]
        model = self.parameterAsString(parameters, "MODEL", context)
        if model:
            arguments += ["-m", model]
        layer = self.parameterAsRasterLayer(parameters, "INPUT", context)
        if parameters.get("EXTENT"):
            box = self.parameterAsExtent(parameters, "EXTENT", context, layer.crs())
            sides = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
            arguments += ["--bbox", ",".join("{:.12g}".format(side) for side in sides)]
        mask = self.parameterAsSource(parameters, "MASK", context)
        if mask is not None:
            path = os.path.join(outputs["OUTPUT"].folder, ".mask.gpkg")
            arguments += ["--aoi", self.written(mask, path, [], context, feedback)]
        bands = self.parameterAsInts(parameters, "BANDS", context)
        if bands:
            arguments += ["--bands", ",".join(map(str, bands))]
        if self.parameterAsBool(parameters, "EXACT", context):
            arguments += ["--margin", "exact"]
        if self.parameterAsBool(parameters, "TTA", context):
            arguments += ["--tta"]
        arguments += self.polygon_options(parameters, context)
        return [*arguments, "--device", self.parameterAsEnumString(parameters, "DEVICE", context)]
