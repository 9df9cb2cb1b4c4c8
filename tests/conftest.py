"""Fixtures and settings of all tests, and a summary of the groups that were skipped."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

from tests.browser import chromium, open_page  # noqa: F401  fixtures

# tiny networks are fastest on one thread; more threads block each other on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")

# tests of messages count lines on stderr; tests/models/test_terms.py tests the notice itself
os.environ.setdefault("GEOSEG_ACCEPT_MODEL_TERMS", "1")

# no deadline: the first example of a property often pays for a compilation; in CI always the same examples
settings.register_profile("local", deadline=None, max_examples=50)
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real scenes and annotations; skip the test without one."""
    folder = os.environ.get("GEOSEG_DATA")
    if not folder:
        pytest.skip("needs real scenes: GEOSEG_DATA is not set")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"needs real scenes: GEOSEG_DATA is no folder: {folder}")
    return path


SKIPPED_GROUPS = {
    "GEOSEG_DATA": ("real data", "set GEOSEG_DATA to the folder of real scenes"),
    "Chromium": ("pages in a browser", "install Chromium (Debian: apt-get install chromium)"),
    "playwright": ("pages in a browser", "install the extra geoseg[dev]"),
    "a GPU": ("GPU", "run on a machine with CUDA"),
    "tensorboard": ("TensorBoard", "install the extra geoseg[tensorboard]"),
    "openvino": ("OpenVINO", "install the extra geoseg[openvino]"),
    "ogrinfo": ("GDAL programs", "install ogrinfo (Debian: apt-get install gdal-bin)"),
}
"""Word in the reason of a skip -> group of tests, and what runs it."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write which groups of tests did not run, and what would run them."""
    counts: Counter[tuple[str, str]] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        reason = str(report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr)
        found = [group for word, group in SKIPPED_GROUPS.items() if word in reason]
        counts[found[0] if found else ("other", reason.removeprefix("Skipped: "))] += 1
    terminalreporter.section("tests that did not run")
    for (name, remedy), number in sorted(counts.items()):
        terminalreporter.write_line(f"{name}: {number} skipped. To run them, {remedy}.")
    terminalreporter.write_line(
        "QGIS: tests/qgis has a run of its own, with the Python of QGIS: see .ci/run."
    )
