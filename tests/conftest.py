"""What all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests.browser import chromium, open_page  # noqa: F401  fixtures

# tiny networks are fastest on one thread, and threads that wait for each other are slow on a busy machine
os.environ.setdefault("OMP_NUM_THREADS", "1")

# tests of messages count lines on stderr; tests/models/test_terms.py tests the notice itself
os.environ.setdefault("GEOSEG_ACCEPT_MODEL_TERMS", "1")

# no deadline: the first example of a property often pays for a compilation; in CI always the same examples
settings.register_profile("local", deadline=None, max_examples=50)
settings.register_profile("ci", parent=settings.get_profile("local"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scenes and annotations that GEOSEG_DATA names; without one the test is skipped."""
    folder = os.environ.get("GEOSEG_DATA")
    if not folder:
        pytest.skip("needs real scenes: GEOSEG_DATA is not set")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"needs real scenes: GEOSEG_DATA is no folder: {folder}")
    return path
