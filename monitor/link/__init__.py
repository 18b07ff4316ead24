"""Between an engine and those who look at it or command it: ZeroMQ sockets. The only place that imports zmq.

- `control`: requests with answers (`ControlServer`, `ControlClient`).
- `state`: how every bed stands, four times a second; `wave`: samples, and attention maps while somebody looks
  (`Publisher`).
- `EngineLink` is a screen's end of all three.

All endpoints are ipc sockets of mode 0600 in a folder of mode 0700. With keys, and only with them, three
more are on TCP (`RemoteDoor`).
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
from monitor.link.keys import Authorised, ClientKeys, KeyPair, authorised, client_keys, make_keys, read_pair
from monitor.link.publisher import Publisher, attention_topic, wave_topic
from monitor.link.remote import RemoteDoor
from monitor.link.subscriber import EngineLink, Received, Reply

__all__ = [
    "LINK_VERSION",
    "MAX_REQUEST_BYTES",
    "AlarmView",
    "AttentionFrame",
    "AttentionImage",
    "AttentionInput",
    "AttentionMap",
    "Authorised",
    "BedState",
    "BundleView",
    "CalibrationView",
    "ClientKeys",
    "ComparatorView",
    "ControlClient",
    "ControlServer",
    "EngineLink",
    "FrameError",
    "Handler",
    "History",
    "IndexView",
    "KeyPair",
    "LimitsView",
    "MarkerView",
    "Publisher",
    "QualityView",
    "Received",
    "RecordingView",
    "RemoteDoor",
    "Reply",
    "Request",
    "ScoreView",
    "SignalsView",
    "StateFrame",
    "StreamView",
    "WaveBlock",
    "attention_topic",
    "authorised",
    "beside",
    "client_keys",
    "decode_request",
    "endpoint",
    "make_keys",
    "read_pair",
    "wave_topic",
]
