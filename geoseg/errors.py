"""Errors that the user can fix, one class per exit code.

A message is one line, ``<file>[:line]: <what is wrong>. <what to do>``. The command line prints it after
``geoseg: error:`` and exits with `GeosegError.exit_code`. A wrong argument to a function is a ValueError instead.
"""

from __future__ import annotations


class GeosegError(Exception):
    """Base class of all errors that the user can fix."""

    exit_code = 1


class ConfigError(GeosegError):
    """Command line or configuration file is invalid."""

    exit_code = 2


class SceneError(GeosegError):
    """Raster cannot be read, or does not fit its purpose."""

    exit_code = 3


class AnnotationError(GeosegError):
    """Annotation file is invalid."""

    exit_code = 3


class DatasetError(GeosegError):
    """Dataset folder is missing, incomplete or unsuitable for the task."""

    exit_code = 3


class OutputError(GeosegError):
    """Product cannot be written."""

    exit_code = 4


class ModelError(GeosegError):
    """Model file is invalid or damaged, or the model does not fit the scene."""

    exit_code = 5


class SkippedInputsError(GeosegError):
    """All products are complete, but some inputs were skipped."""

    exit_code = 6
