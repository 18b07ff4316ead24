"""Over TCP only clients with an authorised key read or command, under the name that the key proves; real sockets."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cbor2
import pytest
import zmq

from benchmarks.screen_frames import bed_state, state, wave
from monitor.config import LinkSettings, load_settings
from monitor.errors import ConfigError, EngineError
from monitor.link import (
    ClientKeys,
    ControlClient,
    ControlServer,
    EngineLink,
    Publisher,
    RemoteDoor,
    authorised,
    client_keys,
    make_keys,
    read_pair,
)
from monitor.link.endpoints import tcp_address
from monitor.link.keys import read_public
from tests.helpers.broker import free_port
from tests.helpers.scripted import wait_until


class Engine:
    """Both sides of an engine's link, without the engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str]] = []
        make_keys("engine", folder)
        self.clients = folder / "clients"
        self.clients.mkdir()
        self.address = f"tcp://127.0.0.1:{free_port(3)}"
        settings = LinkSettings(
            listen=self.address, key_file=str(folder / "engine.key"), clients=str(self.clients)
        )  # fmt: skip
        self.control = ControlServer(run=folder / "run", beds=["bed1"], handle=self.handle, remote=RemoteDoor(settings))
        self.publisher = Publisher(run=folder / "run", beds=["bed1"], remote=RemoteDoor(settings))

    def start(self) -> None:
        self.control.bind()
        self.control.start()
        self.publisher.bind()

    def stop(self) -> None:
        self.control.stop()
        self.publisher.close()

    def handle(self, action: str, args: Mapping[str, Any], *, bed: str, actor: str) -> dict[str, Any]:  # noqa: ARG002
        self.asked.append((action, actor))
        return {}

    def keys(self, name: str, *, known: bool = True, more: str = "") -> ClientKeys:
        """Keys of a client; `known` to the engine or not."""
        _, public = make_keys(name, self.folder)
        if known:
            (self.clients / public.name).write_text(public.read_text() + more)
        return client_keys(self.folder / f"{name}.key")

    def client(self, keys: ClientKeys | None, actor: str = "nurse") -> ControlClient:
        return ControlClient(state_dir=self.folder, bed="bed1", actor=actor, address=self.address, keys=keys)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = Engine(tmp_path)
    made.start()
    yield made
    made.stop()


def test_who_has_an_authorised_key_commands_under_the_name_that_it_proves(engine: Engine) -> None:
    client = engine.client(engine.keys("station1"))
    client.request("acknowledge", {"condition": "pain_severe"}, timeout=10.0)
    engine.client(engine.keys("station2"), actor="x@station1").request("marker", timeout=10.0)
    assert engine.asked == [("acknowledge", "nurse@station1"), ("marker", "x@station1@station2")]


def test_who_has_none_neither_commands_nor_reads(engine: Engine) -> None:
    good = EngineLink(address=engine.address, actor="nurse", keys=engine.keys("station1"))
    stranger = EngineLink(address=engine.address, actor="nurse", keys=engine.keys("stranger", known=False))
    wrong_engine = engine.keys("station2")
    other = read_public(engine.folder / "stranger.pub")
    misled = EngineLink(address=engine.address, actor="nurse", keys=ClientKeys(wrong_engine.own, other))
    links = (good, stranger, misled)
    plain: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    bare = [plain.socket(kind) for kind in (zmq.DEALER, zmq.SUB, zmq.SUB)]
    try:
        for item, kind in zip(bare, ("control", "state", "wave"), strict=True):
            item.setsockopt(zmq.LINGER, 0)
            item.connect(tcp_address(engine.address, kind))
        for item in bare[1:]:
            item.setsockopt(zmq.SUBSCRIBE, b"")
        bare[0].send(cbor2.dumps({"id": "1", "actor": "x", "bed": "bed1", "action": "marker", "args": {}}))
        for link in links:
            link.watch("bed1", attention=False)
        got: dict[EngineLink, set[str]] = {link: set() for link in links}

        def all_of_it() -> bool:
            for link in links:
                # Asked again and again: a request that came before the handshake is not sent later.
                link.request("marker", {"text": "x"})
            engine.publisher.send_state(state(bed_state(), seq=1))
            engine.publisher.send_waves([wave("ECG", 0.0, 1.0)])
            time.sleep(0.02)
            for link in links:
                received = link.receive()
                got[link] |= {"state"} if received.state else set()
                got[link] |= {"wave"} if received.waves else set()
                got[link] |= {"done"} if any(reply.ok for reply in received.replies) else set()
            return got[good] == {"state", "wave", "done"}

        wait_until(all_of_it, 20.0)
        for _ in range(20):
            all_of_it()
        assert got[stranger] == got[misled] == set()
        assert not any(item.poll(0) for item in bare)
        assert {actor for _, actor in engine.asked} == {"nurse@station1"}
    finally:
        for link in links:
            link.close()
        for item in bare:
            item.close()
        plain.term()


def test_a_client_that_may_only_look_asks_and_changes_nothing(engine: Engine) -> None:
    client = engine.client(engine.keys("screen", more="commands = false\n"))
    client.request("status", timeout=10.0)
    with pytest.raises(EngineError, match="may look and not command"):
        client.request("acknowledge", {"condition": "x"}, timeout=10.0)
    assert engine.asked == [("status", "nurse@screen")]


def test_keys_count_from_when_their_file_comes_until_it_goes(engine: Engine) -> None:
    keys = engine.keys("late", known=False)
    with pytest.raises(EngineError, match="does not answer"):
        engine.client(keys).request("status", timeout=0.5)
    file = engine.clients / "late.pub"
    file.write_bytes((engine.folder / "late.pub").read_bytes())
    link = EngineLink(address=engine.address, keys=keys)
    try:

        def answered(ok: bool, words: str = "") -> bool:
            link.request("marker", bed="bed1")
            time.sleep(0.02)
            return any(reply.ok is ok and words in reply.error for reply in link.receive().replies)

        wait_until(lambda: answered(True))
        file.unlink()
        wait_until(lambda: answered(False, "no longer authorised"))
    finally:
        link.close()


def test_the_local_sockets_stay_as_they_were(engine: Engine) -> None:
    from monitor.locks import BedLock

    lock = BedLock(state=engine.folder, bed="bed1")
    lock.acquire()
    ControlClient(state_dir=engine.folder, bed="bed1", actor="nurse").request("marker")
    lock.release()
    assert engine.asked == [("marker", "nurse")]
    for path in (engine.folder / "run").glob("*.sock"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_listens_on_tcp_without_key_or_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clients = tmp_path / "clients"
    clients.mkdir()
    listen = "tcp://127.0.0.1:1024"
    with pytest.raises(EngineError, match="no key"):
        RemoteDoor(LinkSettings(listen=listen, clients=str(clients)))
    make_keys("engine", tmp_path)
    key = tmp_path / "engine.key"
    with pytest.raises(EngineError, match="nobody is authorised"):
        RemoteDoor(LinkSettings(listen=listen, key_file=str(key)))
    with pytest.raises(EngineError, match="no such folder"):
        RemoteDoor(LinkSettings(listen=listen, key_file=str(key), clients=str(tmp_path / "none")))
    key.chmod(0o640)
    with pytest.raises(EngineError, match="read by others"):
        RemoteDoor(LinkSettings(listen=listen, key_file=str(key), clients=str(clients)))
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "pain-monitor.link-key").write_bytes(key.read_bytes())
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    RemoteDoor(LinkSettings(listen=listen, clients=str(clients)))


def test_a_pair_is_private_and_damaged_ones_are_refused_without_quoting_them(tmp_path: Path) -> None:
    secret_file, public_file = make_keys("nurse", tmp_path / "keys")
    assert stat.S_IMODE(secret_file.stat().st_mode) == 0o600
    pair = read_pair(secret_file)
    secret = pair.secret.decode()
    assert secret not in repr(pair)
    assert secret not in public_file.read_text()
    assert pair.public == read_public(public_file)
    with pytest.raises(EngineError, match="there already"):
        make_keys("nurse", tmp_path / "keys")
    with pytest.raises(EngineError, match="no name"):
        make_keys("../nurse", tmp_path)
    for text in (f'secret = "{secret}', f'public = "{secret}"\nsecret = "{secret}"', f'secret = "{secret}"', "\x00"):
        secret_file.write_text(text)
        with pytest.raises(EngineError) as caught:
            read_pair(secret_file)
        assert secret not in f"{caught.value}{caught.value.__cause__}"
    (tmp_path / "keys" / "bad.pub").write_text("public = 3\n")
    assert [client.name for client in authorised(tmp_path / "keys").values()] == ["nurse"]


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('listen = "tcp://127.0.0.1:5555"', "link.clients"),
        ('listen = "tcp://127.0.0.1:65535"\nclients = "x"', "link.listen"),
        ('listen = "tcp://*:5555"\nclients = "x"', "link.listen"),
        ('listen = "ipc://x"\nclients = "x"', "link.listen"),
        ('listen = "tcp://a:1;b"\nclients = "x"', "link.listen"),
    ],
)
def test_what_makes_no_sense_is_found_at_its_key(tmp_path: Path, lines: str, key: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"[link]\n{lines}\n[[bed]]\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert [problem.key for problem in caught.value.problems] == [key]


def test_the_command_line_makes_keys_and_commands_with_them(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    from typer.testing import CliRunner

    from monitor.cli import app

    run = CliRunner().invoke
    made = run(app, ["keys", "nurse1", "--folder", str(engine.folder)])
    assert made.exit_code == 0, made.output
    (engine.clients / "nurse1.pub").write_bytes((engine.folder / "nurse1.pub").read_bytes())
    there = ["--engine", engine.address, "--key", str(engine.folder / "nurse1.key"), "--actor", "anna"]
    done = run(app, ["nrs", "4", *there])
    assert done.exit_code == 0, done.output
    assert engine.asked == [("nrs", "anna@nurse1")]
    without = run(app, ["nrs", "4", *there[:2]])
    assert isinstance(without.exception, EngineError)
    assert "--key" in str(without.exception)


def test_check_names_the_clients_and_finds_a_missing_key(tmp_path: Path) -> None:
    from monitor.checkup import check_config
    from tests.helpers.tiny_bundle import write_tiny_bundle

    make_keys("engine", tmp_path)
    make_keys("station1", tmp_path / "clients")
    (tmp_path / "clients" / "station1.key").unlink()
    config, bundle = tmp_path / "config.toml", write_tiny_bundle(tmp_path).as_posix()
    text = (
        '[link]\nlisten = "tcp://127.0.0.1:5560"\nclients = "{0}/clients"\nkey_file = "{0}/engine.key"\n'
        '[[bed]]\nbundles = ["{1}"]\n[[bed.stream]]\nname = "a"\nmodality = "EDA"\n'
        '[[bed.stream]]\nname = "b"\nmodality = "ECG"\n'
    ).format(tmp_path.as_posix(), bundle)
    config.write_text(text, encoding="utf-8")
    assert any("keys of: station1" in note for note in check_config(config).notes)
    (tmp_path / "engine.key").unlink()
    with pytest.raises(ConfigError, match=r"engine\.key"):
        check_config(config)
