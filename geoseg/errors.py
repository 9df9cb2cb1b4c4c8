"""What can go wrong for a user, and the exit code that says so.

A message reads ``<file>[:line]: what is wrong. what to do``, on one line. The command line turns it into
``geoseg: error: …`` and the exit code; a wrong argument to a *function* is a ValueError instead.
"""

from __future__ import annotations


class GeosegError(Exception):
    """Root of every error that is the user's to mend; its text is one line."""

    exit_code = 1


class ConfigError(GeosegError):
    """The command line or a configuration file asks for something that cannot be."""

    exit_code = 2


class SceneError(GeosegError):
    """A raster cannot be read, or not as what it is meant to be."""

    exit_code = 3


class AnnotationError(GeosegError):
    """A label file says something that is not an annotation."""

    exit_code = 3


class DatasetError(GeosegError):
    """A dataset folder is missing, incomplete or does not fit the task."""

    exit_code = 3


class OutputError(GeosegError):
    """A product cannot be written where it was asked for."""

    exit_code = 4


class ModelError(GeosegError):
    """A model file is not one, is damaged, or does not fit the scene."""

    exit_code = 5


class SkippedInputsError(GeosegError):
    """The work is finished and its products are complete, but some inputs were left out."""

    exit_code = 6
