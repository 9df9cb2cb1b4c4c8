"""Files of a run: paths of layers, exported features, and outputs that appear only when complete."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence

from qgis.core import (
    QgsFeature,
    QgsFeatureRequest,
    QgsFields,
    QgsMapLayer,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeatureSource,
    QgsProcessingFeedback,
    QgsProviderRegistry,
    QgsVectorFileWriter,
    QgsVectorLayer,
)

from .i18n import tr


class ScratchOutput:
    """An output file or folder that is written next to its final path and moved there when complete.

    It is written into a hidden folder in the same folder, together with its sidecar files. Leaving the context
    deletes the hidden folder.
    """

    path: str
    """Final path, absolute."""

    scratch: str
    """Path to write to."""

    folder: str
    """Hidden folder of `scratch`."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        parent, self._name = os.path.split(self.path)
        try:
            self.folder = tempfile.mkdtemp(prefix=".geoseg-", dir=parent)
        except OSError as error:
            text = tr("{}: cannot be written ({}). Check the folder and its permissions.")
            raise QgsProcessingException(text.format(path, error.strerror)) from error
        self.scratch = os.path.join(self.folder, self._name)

    def __enter__(self) -> ScratchOutput:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def move(self) -> None:
        """Move the output to its final path, after its sidecar files. Replace former ones."""
        for suffix in ("-wal", "-shm", "-journal"):  # SQLite's files of a former GeoPackage
            if os.path.exists(self.path + suffix):
                os.remove(self.path + suffix)
        written = [name for name in os.listdir(self.folder) if not name.startswith(".")]
        for name in sorted(written, key=lambda name: name == self._name):
            target = os.path.join(os.path.dirname(self.path), name)
            if os.path.isfile(os.path.join(target, "dataset.json")):
                shutil.rmtree(target)
            try:
                os.replace(os.path.join(self.folder, name), target)
            except OSError as error:
                text = tr("{}: cannot be replaced ({}). Choose another name.")
                raise QgsProcessingException(text.format(target, error.strerror)) from error


def layer_path(layer: QgsMapLayer) -> str:
    """Return the path of the file that a layer shows, or "" if it is no file."""
    if layer.providerType() not in ("gdal", "ogr"):
        return ""
    parts = QgsProviderRegistry.instance().decodeUri(layer.providerType(), layer.source())
    return "".join(parts.get(key) or "" for key in ("vsiPrefix", "path", "vsiSuffix"))


def is_same_file(path: str, other: str) -> bool:
    """Compare two paths; False if either does not exist."""
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def export_features(
    source: QgsProcessingFeatureSource,
    path: str,
    fields: Sequence[tuple[str, str]],
    context: QgsProcessingContext,
    feedback: QgsProcessingFeedback,
) -> str:
    """Write features to a GeoPackage and return its path.

    `fields` are pairs of a field's name in the source and in the GeoPackage; other fields are left out.
    """
    indexes = [source.fields().lookupField(name) for name, _ in fields]
    schema = QgsFields()
    for index, (_, name) in zip(indexes, fields):
        field = source.fields().at(index)
        field.setName(name)
        schema.append(field)
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName, options.fileEncoding = "GPKG", "UTF-8"
    writer = QgsVectorFileWriter.create(
        path, schema, source.wkbType(), source.sourceCrs(), context.transformContext(), options
    )
    # geoseg repairs invalid polygons itself
    flag = QgsProcessingFeatureSource.Flag.FlagSkipGeometryValidityChecks
    for number, feature in enumerate(source.getFeatures(QgsFeatureRequest(), flag)):
        if number % 1000 == 0 and feedback.isCanceled():
            break
        copy = QgsFeature(schema)
        copy.setGeometry(feature.geometry())
        copy.setAttributes([feature.attribute(index) for index in indexes])
        if not writer.addFeature(copy):
            raise QgsProcessingException(writer.errorMessage())
    del writer
    return path


def name_result(destination: str, name: str, context: QgsProcessingContext) -> None:
    """Name the layer of a destination, if QGIS loads it on completion."""
    if context.willLoadLayerOnCompletion(destination):
        details = context.layerToLoadOnCompletionDetails(destination)
        details.name, details.forceName = name, True


def load_into_memory(path: str, destination: str, context: QgsProcessingContext) -> str:
    """Copy the polygons of a GeoPackage to a styled layer in memory and return its ID.

    The layer belongs to the context, in place of its destination, such as ``memory:objects``.
    """
    saved = QgsVectorLayer(path, destination.partition(":")[2] or "geoseg", "ogr")
    saved.loadDefaultStyle()
    layer = saved.materialize(QgsFeatureRequest())
    layer.setRenderer(saved.renderer().clone())
    context.temporaryLayerStore().addMapLayer(layer)
    if context.willLoadLayerOnCompletion(destination):
        layers = context.layersToLoadOnCompletion()
        layers[layer.id()] = layers.pop(destination)
        context.setLayersToLoadOnCompletion(layers)
    return str(layer.id())
