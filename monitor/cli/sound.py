"""What alarms sound like on this machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer


def sound_test(
    config: Annotated[Path | None, typer.Argument(help="Take device and volume from this configuration.")] = None,
    *,
    wav: Annotated[Path | None, typer.Option(help="Write the tones into this file instead of playing them.")] = None,
) -> None:
    """List the sound devices and play the tones of each kind of alarm once, or say why nothing can be heard.

    Whether they are loud enough where somebody should hear them, only somebody there can tell.

        pain-monitor sound-test config.toml

        pain-monitor sound-test --wav tones.wav

    Exit code 9 where there is no device.
    """
    from monitor.config import SoundSettings, load_settings
    from monitor.errors import EngineError
    from monitor.outputs.sound_players import DevicePlayer, SoundError, WavePlayer
    from monitor.outputs.tones import PATTERNS, burst

    settings = load_settings(config).sound if config is not None else SoundSettings()
    player = WavePlayer(wav) if wav is not None else DevicePlayer(settings.device)
    try:
        if isinstance(player, DevicePlayer):
            print("Devices:", "; ".join(player.devices()) or "none")
        player.open()
        for pattern in PATTERNS:
            print(
                f"{pattern.name}: {len(pattern.pulses)} pulses in {pattern.length_s:.1f} s, every {pattern.every_s:g} s"
            )
            player.play(burst(pattern, settings.volume))
            if wav is None:
                time.sleep(pattern.length_s + 1.0)
                player.check()
    except SoundError as error:
        todo = "Alarms are shown and sent without it; `--wav FILE` writes the tones into a file"
        raise EngineError(f"audio off: {error}", todo=todo) from None
    finally:
        player.close()
