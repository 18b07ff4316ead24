from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from monitor.images.spec import RenderSpec

ADAPTER: TypeAdapter[RenderSpec] = TypeAdapter(RenderSpec)
KINDS = ("spectrogram_angle", "spectrogram_phase", "spectrogram_psd", "recurrence", "scalogram", "waveform")


@pytest.mark.parametrize("kind", KINDS)
def test_survives_json(kind: str) -> None:
    spec = ADAPTER.validate_python({"kind": kind})
    assert spec.kind == kind
    assert ADAPTER.validate_json(ADAPTER.dump_json(spec)) == spec


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "spectrogram_psd", "nfft": 128}, "overlap is 128: it must be below nfft (128)"),
        ({"kind": "scalogram", "least_scale": 300.0}, "least_scale is 300: it must be below greatest_scale (256)"),
        ({"kind": "waveform", "low": 2.0, "high": 2.0}, "low is 2: it must be below high (2)"),
        ({"kind": "waveform", "low": 2.0}, "low and high go together"),
        ({"kind": "waveform", "std": (1.0, 0.0, 1.0)}, "greater than 0"),
        ({"kind": "waveform", "mean": (1.0, float("nan"), 1.0)}, "finite number"),
        ({"kind": "photograph"}, "does not match any of the expected tags"),
        ({"kind": "waveform", "colours": "viridis"}, "Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python(fields)
    (error,) = caught.value.errors()
    assert said in error["msg"]
    assert "\n" not in error["msg"]
