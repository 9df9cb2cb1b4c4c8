"""The first use of the shipped model in a process names its terms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from geoseg.models import model_file as module
from geoseg.models.model_file import ACCEPT_TERMS, load_model
from tests.scenes import model_file


@pytest.fixture
def _first_use(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a new process, whatever other tests have loaded; other tests see no trace of this one."""
    monkeypatch.delenv(ACCEPT_TERMS, raising=False)
    module._report_terms.cache_clear()
    yield
    module._report_terms.cache_clear()


@pytest.mark.usefixtures("_first_use")
def test_one_line_names_the_terms_and_how_to_silence_it(caplog: pytest.LogCaptureFixture) -> None:
    load_model()
    load_model()
    (record,) = caplog.records
    message = record.getMessage()
    assert record.levelname == "WARNING"  # on stderr also without any logging configuration
    assert "non-commercial research use" in message
    assert f"{ACCEPT_TERMS}=1" in message
    assert "\n" not in message


@pytest.mark.usefixtures("_first_use")
def test_other_models_and_accepted_terms_say_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    load_model(model_file(tmp_path / "own.safetensors"))
    monkeypatch.setenv(ACCEPT_TERMS, "1")
    load_model()
    assert not caplog.records
