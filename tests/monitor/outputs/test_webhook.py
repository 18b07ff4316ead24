"""Alarms reach a real receiver signed, once and in order, whatever the receiver does; nothing waits for it."""

from __future__ import annotations

import hashlib
import hmac
import http.server
import json
import logging
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monitor.clock import SystemClock
from monitor.config import WebhookSettings, load_settings
from monitor.engine.wiring import webhook_outputs
from monitor.errors import ConfigError
from monitor.outputs.base import Heir, Route
from monitor.outputs.webhook import WebhookOutput, webhook_key
from monitor.types import AlarmAction, Presence
from tests.helpers.made_session import made_alarm, made_score
from tests.helpers.scripted import wait_until

KEY = "0123456789abcdef-not-a-secret"


class Receiver:
    """A real HTTP server on loopback that answers as it is told and keeps what it has taken."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.answers: list[Callable[[http.server.BaseHTTPRequestHandler], None] | int] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.taken: list[dict[str, Any]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((dict(self.headers), body))
                answer = receiver.answers.pop(0) if receiver.answers else 204
                if not isinstance(answer, int):
                    answer(self)
                    return
                if answer < 300:
                    receiver.taken.append(json.loads(body))
                self.send_response(answer)
                if 300 <= answer < 400:
                    self.send_header("Location", f"{receiver.url}/elsewhere")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # a client that gives up is what is tested

        self.server = Server(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.url = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIN_MONITOR_WEBHOOK_KEY", KEY)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., WebhookOutput]]:
    made: list[WebhookOutput] = []

    def output(
        url: str, *, started: bool = True, backoff_s: tuple[float, float] = (0.02, 0.1), **settings: Any
    ) -> WebhookOutput:
        settings = {"timeout_s": 30.0, **settings}  # an answer that comes late is not to be taken for none
        made.append(
            WebhookOutput(
                bed="bed1", settings=WebhookSettings(url=f"{url}/alarms?ward=7", **settings), folder=tmp_path,
                clock=SystemClock(), backoff_s=backoff_s,
            )
        )  # fmt: skip
        if started:
            made[-1].open()
        return made[-1]

    yield output
    for item in made:
        item.close()


def test_a_transition_arrives_signed_and_says_where_it_comes_from(
    receiver: Receiver, make: Callable[..., WebhookOutput], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    output = make(receiver.url)
    output.publish("other", [made_alarm(1.0)])
    output.publish("bed1", [made_score(1), made_alarm(2.0)])
    wait_until(lambda: output.delivered == 1)
    (headers, body) = receiver.requests[0]
    stamp = headers["X-Pain-Monitor-Timestamp"]
    expected = hmac.new(KEY.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Pain-Monitor-Signature"] == f"v1={expected}"
    assert abs(time.time() - int(stamp)) < 60
    message = json.loads(body)
    assert message["id"] == headers["X-Pain-Monitor-Id"]
    assert (message["bed"], message["presence"], message["provenance"]) == ("bed1", "on", "simulated")
    assert "RESEARCH USE ONLY" in message["notice"]
    kept = "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
    assert KEY not in caplog.text + kept + body.decode()


@pytest.mark.parametrize("answer", [500, 503, 401, 404, 302, 307])
def test_a_failure_is_tried_again_with_the_same_id_and_order_is_kept(
    receiver: Receiver, make: Callable[..., WebhookOutput], answer: int
) -> None:
    receiver.answers = [answer, answer]
    output = make(receiver.url)
    output.publish("bed1", [made_alarm(1.0), made_alarm(2.0, Presence.OFF)])
    wait_until(lambda: output.delivered == 2 and output.waiting == 0)
    assert [item["presence"] for item in receiver.taken] == ["on", "off"]
    ids = [headers["X-Pain-Monitor-Id"] for headers, _ in receiver.requests]
    assert len(ids) == 4
    assert ids[0] == ids[1] == ids[2] != ids[3]
    assert output.given_up == 0


def test_what_the_receiver_will_never_take_does_not_hold_up_the_next(
    receiver: Receiver, make: Callable[..., WebhookOutput]
) -> None:
    receiver.answers = [422]
    output = make(receiver.url)
    output.publish("bed1", [made_alarm(1.0), made_alarm(2.0, Presence.OFF)])
    wait_until(lambda: output.delivered == 1)
    assert [item["presence"] for item in receiver.taken] == ["off"]
    assert output.given_up == 1


def test_a_receiver_that_hangs_holds_up_nobody(receiver: Receiver, make: Callable[..., WebhookOutput]) -> None:
    release = threading.Event()
    receiver.answers = [lambda _: release.wait(60.0) and None]
    output = make(receiver.url)
    for k in range(50):
        output.publish("bed1", [made_alarm(float(k), Presence.OFF if k % 2 else Presence.ON)])
    assert (output.waiting, output.delivered) == (50, 0), "each is in the box, and the first answer is not there yet"
    release.set()
    wait_until(lambda: output.delivered == 50)
    assert [item["t_rel"] for item in receiver.taken] == [float(k) for k in range(50)]


def test_who_says_nothing_or_trickles_is_given_up_and_asked_again(
    receiver: Receiver, make: Callable[..., WebhookOutput]
) -> None:
    over = threading.Event()

    def hang(_: http.server.BaseHTTPRequestHandler) -> None:
        over.wait(60.0)

    def trickle(handler: http.server.BaseHTTPRequestHandler) -> None:
        while not over.wait(0.05):
            handler.wfile.write(b"H")
            handler.wfile.flush()

    receiver.answers = [hang, trickle]
    output = make(receiver.url, timeout_s=0.5)
    output.publish("bed1", [made_alarm(1.0)])
    try:
        wait_until(lambda: output.delivered >= 1)
    finally:
        over.set()
    assert len(receiver.requests) >= 3
    assert {headers["X-Pain-Monitor-Id"] for headers, _ in receiver.requests} == {receiver.taken[0]["id"]}


def test_while_the_receiver_is_down_alarms_wait_and_outlive_the_process(
    make: Callable[..., WebhookOutput], tmp_path: Path
) -> None:
    gone = Receiver()
    gone.close()
    first = make(gone.url)
    first.publish("bed1", [made_alarm(1.0)])
    wait_until(lambda: first.waiting == 1)
    first.close()
    assert (tmp_path / "webhook-bed1.outbox").stat().st_mode & 0o077 == 0
    back = Receiver()
    try:
        second = make(back.url)
        wait_until(lambda: second.delivered == 2)
        assert [item["presence"] for item in back.taken] == ["on", "off"]  # and whether it still holds is not known
        assert "started anew" in back.taken[1]["text"]
        assert back.taken[0]["event_id"] == back.taken[1]["event_id"]
        assert back.taken[0]["id"] != back.taken[1]["id"]
        second.close()
        third = make(back.url)
        third.publish("bed1", [made_alarm(9.0, event_id="another")])
        wait_until(lambda: third.delivered == 1)
        assert len(back.taken) == 3
    finally:
        back.close()


def test_a_killed_process_loses_and_doubles_no_alarm(
    receiver: Receiver, make: Callable[..., WebhookOutput], tmp_path: Path, repository: Path
) -> None:
    program = f"""
import time
from pathlib import Path
from monitor.clock import SystemClock
from monitor.config import WebhookSettings
from monitor.outputs.base import Heir, Route
from monitor.outputs.webhook import WebhookOutput
from monitor.types import AlarmAction, Presence
from tests.helpers.made_session import made_alarm
settings = WebhookSettings(url={receiver.url!r} + "/alarms?ward=7", timeout_s=30.0)
output = WebhookOutput(bed="bed1", settings=settings, folder=Path({str(tmp_path)!r}), clock=SystemClock())
output.open()
output.publish("bed1", [made_alarm(1.0), made_alarm(2.0, Presence.OFF), made_alarm(3.0, Presence.OFF)])
print("published", flush=True)
time.sleep(60)
"""
    receiver.answers = [204, *[500] * 5]
    process = subprocess.Popen([sys.executable, "-c", program], cwd=repository, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "published\n"
        wait_until(lambda: len(receiver.requests) >= 2)
    finally:
        process.kill()
        process.communicate()
    output = make(receiver.url)
    wait_until(lambda: output.waiting == 0)
    assert [item["t_rel"] for item in receiver.taken] == [1.0, 2.0, 3.0]
    assert len({item["id"] for item in receiver.taken}) == 3


def test_a_certificate_that_does_not_verify_gets_nothing(
    make: Callable[..., WebhookOutput], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pem = tmp_path / "server.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "cert.pem").read_text())
    receiver = Receiver(pem)
    try:
        output = make(receiver.url)
        output.publish("bed1", [made_alarm(1.0)])
        wait_until(lambda: "not to be trusted" in caplog.text)
        assert receiver.requests == []
        assert output.waiting == 1
        output.close()
        trusting = make(receiver.url, ca_file=str(tmp_path / "cert.pem"))
        wait_until(lambda: trusting.delivered == 2)
    finally:
        receiver.close()


def test_what_a_process_takes_over_is_not_ended(receiver: Receiver, make: Callable[..., WebhookOutput]) -> None:
    first = make(receiver.url)
    first.publish("bed1", [made_alarm(1.0, event_id="goes-on"), made_alarm(1.5, condition="b", event_id="is-over")])
    wait_until(lambda: first.delivered == 2)
    first.close()
    second = make(receiver.url, started=False)
    second.restored("bed1", [made_alarm(2.0, event_id="goes-on")])
    second.open()
    wait_until(lambda: second.delivered == 1)
    assert [(item["event_id"], item["presence"], item["before"]) for item in receiver.taken[2:]] == [
        ("is-over", "off", "on")
    ]


def test_actions_on_alarms_are_sent_in_order_with_them(receiver: Receiver, make: Callable[..., WebhookOutput]) -> None:
    output = make(receiver.url)
    now = time.time()
    action = AlarmAction(
        bed="bed1", t=2.0, t_rel=2.0, action="audio_pause", actor="nurse", before={"audio": "on", "audio_until": None},
        after={"audio": "paused", "audio_until": time.monotonic() + 60.0}, text="Sounds are paused.",
    )  # fmt: skip
    output.publish("bed1", [made_alarm(1.0), action, made_alarm(3.0, Presence.OFF)])
    wait_until(lambda: output.delivered == 3)
    assert [item["type"] for item in receiver.taken] == ["alarm", "action", "alarm"]
    assert [item["seq"] for item in receiver.taken] == [1, 2, 3]
    sent = receiver.taken[1]
    assert (sent["action"], sent["actor"], sent["before"]["audio_until"]) == ("audio_pause", "nurse", None)
    assert now + 55 < sent["after"]["audio_until"] < now + 65


def test_a_probe_proves_the_route_or_says_what_is_wrong(receiver: Receiver, make: Callable[..., WebhookOutput]) -> None:
    output = make(receiver.url)
    assert isinstance(output, Route)
    assert isinstance(output, Heir)
    assert output.probe({"n": 7, "missed": ["mqtt-bed1"]}, 20.0) == ""
    probe = receiver.taken[0]
    assert (probe["type"], probe["report"], "condition" in probe) == ("probe", {"n": 7, "missed": ["mqtt-bed1"]}, False)
    receiver.answers = [500]
    assert "500" in output.probe({"n": 8}, 20.0)
    assert output.problem() == ""
    receiver.answers = [500] * 1000
    output.publish("bed1", [made_alarm(1.0)])
    wait_until(lambda: "500" in output.problem())
    receiver.answers.clear()
    wait_until(lambda: output.problem() == "" and output.waiting == 0)


def test_a_probe_that_gets_through_ends_the_wait_for_the_next_attempt(
    receiver: Receiver, make: Callable[..., WebhookOutput]
) -> None:
    output = make(receiver.url, backoff_s=(600.0, 600.0))
    receiver.answers = [500]
    output.publish("bed1", [made_alarm(1.0)])
    wait_until(lambda: "500" in output.problem())
    assert output.waiting == 1
    assert output.probe({"n": 1}, 20.0) == ""
    wait_until(lambda: output.waiting == 0)
    assert [item["type"] for item in receiver.taken] == ["probe", "alarm"]


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('url = "http://ward.example/x"', "webhook.url"),
        ('url = "https://user:pw@ward.example/x"', "webhook.url"),
        ('url = "ftp://ward.example/x"', "webhook.url"),
        ('url = "https://ward.example:99999/x"', "webhook.url"),
        ('url = "https://ward.example:x/y"', "webhook.url"),
        ('url = "http://localhost.example/x"', "webhook.url"),
        ('url = "http://[::1]:80/x"\nca_file = "x"', "webhook.ca_file"),
        ('url = "http://localhost/x"\nca_file = "x"', "webhook.ca_file"),
        ('key = "secret"', "webhook.key"),
    ],
)
def test_what_makes_no_sense_is_found_at_its_key(tmp_path: Path, lines: str, key: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[webhook]\n{lines}\n[[bed]]\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert [problem.key for problem in caught.value.problems] == [key]


def test_the_key_is_long_and_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIN_MONITOR_WEBHOOK_KEY", "short")
    with pytest.raises(ConfigError, match="16 bytes"):
        webhook_key(WebhookSettings())
    path = tmp_path / "key"
    path.write_text(f"{KEY}\nmore\n")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        webhook_key(WebhookSettings(key_file=str(path)))
    path.chmod(0o600)
    assert webhook_key(WebhookSettings(key_file=str(path))) == KEY.encode()


def test_each_bed_has_its_own_where_one_is_configured(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[[bed]]\nname = "a"\n[[bed]]\nname = "b"\n', encoding="utf-8")
    settings = load_settings(path)
    assert webhook_outputs(settings, SystemClock()) == []
    configured = settings.model_copy(update={"webhook": WebhookSettings(url="https://ward.example/x")})
    assert [output.name for output in webhook_outputs(configured, SystemClock())] == ["webhook-a", "webhook-b"]
