"""Windows → network → what was found, batch after batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from geoseg.engine.predict import Decided, Predictor
from geoseg.engine.reader import Read


def decide(
    predictor: Predictor, reads: Iterable[Read], *, batch_size: int = 1
) -> Iterator[Decided | None]:
    """What was found in each tile, None for one without data; neighbours of one size go through
    the network together.
    """
    batch: list[Read] = []
    for read in reads:
        if read.empty:
            yield from predictor.decide(batch) if batch else ()
            batch = []
            yield None
            continue
        if batch and predictor.padded(batch[0]) != predictor.padded(read):
            yield from predictor.decide(batch)
            batch = []
        batch.append(read)
        if len(batch) == batch_size:
            yield from predictor.decide(batch)
            batch = []
    if batch:
        yield from predictor.decide(batch)
