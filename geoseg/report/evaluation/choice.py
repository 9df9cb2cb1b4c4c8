"""Which scenes are worth a look: the best, those in the middle, and the worst."""

from __future__ import annotations

from collections.abc import Mapping

EACH = 3

RULE = (
    "Scenes that hold an object, ordered by their own mean IoU without background ({truth}); of equal ones the "
    "one with fewer pixels first. Shown are the first, the middle and the last of {scored}."
)


def choose(scores: Mapping[str, tuple[float | None, int]], *, each: int = EACH) -> dict[str, str]:
    """Scene name → ``best``, ``median`` or ``worst``, at most `each` of a kind, none twice.

    `scores` are mean IoU, None without objects, and pixels of every scene. Best come first, worst last.
    """
    scored = [
        (-score, pixels, name) for name, (score, pixels) in scores.items() if score is not None
    ]
    names = [name for _, _, name in sorted(scored)]
    few = min(each, max(1, len(names) // 3))
    middle = (len(names) - few) // 2
    ranks = {"best": names[:few], "median": names[middle : middle + few], "worst": names[-few:]}
    chosen: dict[str, str] = {}
    for rank, of_rank in ranks.items():
        for name in of_rank:
            chosen.setdefault(name, rank)
    return chosen
