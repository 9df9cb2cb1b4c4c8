"""Names of earlier versions, with what to write instead."""

from __future__ import annotations

RENAMED_COMMANDS = {"tile": "chip"}
"""Command of an earlier version -> its name."""

_REFERENCE = "renamed to '--reference'"

RENAMED_OPTIONS = {
    ("chip", "--truth"): _REFERENCE,
    ("chip", "--whole"): "removed; write '--size 0'",
    ("compare", "--truth"): _REFERENCE,
    ("evaluate", "--truth"): _REFERENCE,
    ("stats", "--truth"): _REFERENCE,
}
"""(Command, option) of an earlier version -> what to write instead."""
