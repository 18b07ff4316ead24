"""Transfer functions of known devices: raw converter counts to the modality's unit, from the sensors' data sheets.

With n the resolution of the converter in bits and VCC its supply voltage:

* ECG, EMG in mV: (ADC / 2^n - 1/2) * VCC / G * 1000
* EDA in uS: ADC / 2^n * VCC / k
* respiration (piezoelectric) in % of full scale: (ADC / 2^n - 1/2) * 100
* blood volume pulse in relative units: ADC / 2^n

BITalino (r)evolution: VCC = 3.3 V, G = 1100 (ECG) and 1009 (EMG), k = 0.132, 10 bits (6 on the last two channels).
biosignalsplux: VCC = 3 V, G = 1000 (ECG, EMG), k = 0.12, 16 bits. Thermistors and accelerometers follow no fixed line
and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class _Device:
    bits: int
    supply_v: float
    sensor_gain: MappingProxyType[str, float]
    conductance_v_per_us: float


_DEVICES: Final = MappingProxyType(
    {
        "bitalino_rev": _Device(
            bits=10,
            supply_v=3.3,
            sensor_gain=MappingProxyType({"ECG": 1100.0, "EMG": 1009.0}),
            conductance_v_per_us=0.132,
        ),
        "biosignalsplux": _Device(
            bits=16,
            supply_v=3.0,
            sensor_gain=MappingProxyType({"ECG": 1000.0, "EMG": 1000.0}),
            conductance_v_per_us=0.12,
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """value = gain * counts + offset, and the range that the converter can give."""

    gain: float
    offset: float
    rails: tuple[float, float]


def transfer_of(device: str, modality: str, *, bits: int | None = None) -> Transfer | None:
    """Return the transfer function of a device's sensor, or None where the device has none for the modality.

    Args:
        device: `bitalino_rev` or `biosignalsplux`.
        modality: ECG, EMG, EDA, RESP or BVP.
        bits: Resolution of the converter; the device's own default where None.
    """
    known = _DEVICES[device]
    full_scale = 2.0 ** (known.bits if bits is None else bits)
    rails = (0.0, full_scale - 1.0)
    if modality in known.sensor_gain:
        span_mv = known.supply_v / known.sensor_gain[modality] * 1000.0
        return Transfer(gain=span_mv / full_scale, offset=-span_mv / 2.0, rails=rails)
    if modality == "EDA":
        return Transfer(gain=known.supply_v / known.conductance_v_per_us / full_scale, offset=0.0, rails=rails)
    if modality == "RESP":
        return Transfer(gain=100.0 / full_scale, offset=-50.0, rails=rails)
    if modality == "BVP":
        return Transfer(gain=1.0 / full_scale, offset=0.0, rails=rails)
    return None
