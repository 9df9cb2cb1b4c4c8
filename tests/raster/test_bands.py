"""Names and statistics of bands."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from geoseg.raster.bands import BandStatistics

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.builds(BandStatistics, *[NUMBERS] * 6))
def test_statistics_survive_json_to_the_last_digit(band: BandStatistics) -> None:
    assert BandStatistics.from_json(json.loads(json.dumps(band.to_json()))) == band
