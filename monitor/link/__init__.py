"""Between an engine and those who look at it or command it: ZeroMQ sockets. The only place that imports zmq.

- `control`: requests with answers (`ControlServer`, `ControlClient`).
- `state`: how every bed stands, four times a second; `wave`: samples, and attention maps while somebody looks
  (`Publisher`).
- `EngineLink` is a screen's end of all three.

All endpoints are ipc sockets of mode 0600 in a folder of mode 0700.
"""

from monitor.frames import (
    LINK_VERSION,
    AlarmView,
    AttentionFrame,
    AttentionImage,
    AttentionInput,
    AttentionMap,
    BedState,
    BundleView,
    CalibrationView,
    ComparatorView,
    FrameError,
    History,
    IndexView,
    LimitsView,
    MarkerView,
    QualityView,
    RecordingView,
    ScoreView,
    SignalsView,
    StateFrame,
    StreamView,
    WaveBlock,
)
from monitor.link.control import (
    MAX_REQUEST_BYTES,
    ControlClient,
    ControlServer,
    Handler,
    Request,
    decode_request,
)
from monitor.link.endpoints import beside, endpoint
from monitor.link.publisher import Publisher, attention_topic, wave_topic
from monitor.link.subscriber import EngineLink, Received, Reply

__all__ = [
    "LINK_VERSION",
    "MAX_REQUEST_BYTES",
    "AlarmView",
    "AttentionFrame",
    "AttentionImage",
    "AttentionInput",
    "AttentionMap",
    "BedState",
    "BundleView",
    "CalibrationView",
    "ComparatorView",
    "ControlClient",
    "ControlServer",
    "EngineLink",
    "FrameError",
    "Handler",
    "History",
    "IndexView",
    "LimitsView",
    "MarkerView",
    "Publisher",
    "QualityView",
    "Received",
    "RecordingView",
    "Reply",
    "Request",
    "ScoreView",
    "SignalsView",
    "StateFrame",
    "StreamView",
    "WaveBlock",
    "attention_topic",
    "beside",
    "decode_request",
    "endpoint",
    "wave_topic",
]
