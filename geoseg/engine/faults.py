"""Scenes that could not be read, when there are others to go on with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from geoseg.errors import SceneError, SkippedInputsError

T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)


class Faults:
    """What went wrong on the way; `keep_going` goes past it."""

    def __init__(self, *, keep_going: bool) -> None:
        self._keep_going = keep_going
        self._found: list[SceneError] = []

    def tried(self, function: Callable[[T], R], argument: T) -> R | None:
        """``function(argument)``, or None where that raises a SceneError that can be gone past."""
        try:
            return function(argument)
        except SceneError as error:
            if not self._keep_going:
                raise
            log.warning("%s", error)
            self._found.append(error)
            return None

    def check(self, *, left: int) -> None:
        """Raise the first fault when no scene is left."""
        if self._found and not left:
            raise self._found[0]

    def tell(self, output: Path) -> None:
        """Raise a SkippedInputsError if there was any."""
        if self._found:
            raise SkippedInputsError(
                f"{output}: complete but for {len(self._found)} "
                f"{'scene' if len(self._found) == 1 else 'scenes'} left out: "
                + "; ".join(map(str, self._found))
            )
