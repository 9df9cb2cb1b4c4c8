"""Where outlines have corners, as bits: what a simpler outline must not run across.

Two bits for every corner of the pixel grid, from the row at which the oldest open polygon begins
to the row that was read last: a quarter of a byte per pixel, against the byte of its label.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from geoseg.polygons.jit import kernel
from geoseg.polygons.tables import LABELS, OUTSIDE
from geoseg.polygons.trace import Labels


class Vertices:
    """The corners of all outlines in a range of row lines."""

    def __init__(self, skip: tuple[int, ...] = (0, 255)) -> None:
        self.first = 0
        """The first row line that is remembered."""
        self.lines = 0
        """The first that is not known yet."""
        self.corners = np.zeros((0, 0), np.uint8)
        """(lines - first, bytes) bits of corners: where an outline turns or meets another."""
        self.nodes = np.zeros((0, 0), np.uint8)
        """Likewise those where three or four outlines meet, and the scene's four corners."""
        self._above = np.zeros(0, np.uint16)
        self._same = np.arange(LABELS).astype(np.uint16)
        self._same[list(skip)] = 0  # all that gets no polygon is one

    def watch(
        self, strips: Iterable[tuple[Labels, NDArray[np.uint8] | None]]
    ) -> Iterator[tuple[Labels, NDArray[np.uint8] | None]]:
        """Pass strips on, and remember the corners in them."""
        for labels, confidence in strips:
            self._add(self._same[labels])
            yield labels, confidence
        if len(self._above):
            self._add(np.full((1, len(self._above) - 2), OUTSIDE, np.uint16))
            self.nodes[self.lines - 1 - self.first, :] |= self._ends()

    def forget(self, line: int) -> None:
        """Forget all row lines above this one."""
        drop = min(line, self.lines) - self.first
        if drop > (self.lines - self.first) // 2:
            self.corners = self.corners[drop:].copy()
            self.nodes = self.nodes[drop:].copy()
            self.first += drop

    def _add(self, labels: NDArray[np.uint16]) -> None:
        rows, width = labels.shape
        if not self.lines:
            self._above = np.full(width + 2, OUTSIDE, np.uint16)
            self.corners, self.nodes = np.zeros((2, 0, width // 8 + 1), np.uint8)
        stack = np.full((rows + 1, width + 2), OUTSIDE, np.uint16)
        stack[0] = self._above
        stack[1:, 1:-1] = labels
        known = self.lines - self.first
        self.corners = _longer(self.corners, known, rows)
        self.nodes = _longer(self.nodes, known, rows)
        mark(stack, self.corners[known : known + rows], self.nodes[known : known + rows])
        if not self.lines:
            self.nodes[0] |= self._ends()
        self._above = stack[-1].copy()
        self.lines += rows

    def _ends(self) -> NDArray[np.uint8]:
        """Bits of the first and the last corner of a row line."""
        width = len(self._above) - 2
        bits = np.zeros(width + 1, bool)
        bits[[0, width]] = True
        return np.packbits(bits, bitorder="little")


def _longer(table: NDArray[np.uint8], used: int, more: int) -> NDArray[np.uint8]:
    """The table with room for more rows behind those that are used, all zero."""
    if used + more <= len(table):
        return table
    longer = np.zeros((max(used + more, used * 5 // 4), table.shape[1]), np.uint8)
    longer[:used] = table[:used]
    return longer


@kernel
def mark(labels: NDArray[np.uint16], corners: NDArray[np.uint8], nodes: NDArray[np.uint8]) -> None:
    """Set the bits of the row lines between the rows of `labels` (rows + 1, columns + 2)."""
    for row in range(len(labels) - 1):
        above, below = labels[row], labels[row + 1]
        for x in range(len(above) - 1):
            a, b, c, d = above[x], above[x + 1], below[x], below[x + 1]
            if a == b and c == d:
                continue
            up, down, left, right = a != b, c != d, a != c, b != d
            edges = up + down + left + right
            if edges > 2 or up != down:
                corners[row, x >> 3] |= np.uint8(1 << (x & 7))
            if edges > 2:
                nodes[row, x >> 3] |= np.uint8(1 << (x & 7))
