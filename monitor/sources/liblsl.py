"""The one door to liblsl: everything else that speaks Lab Streaming Layer takes `pylsl` from here.

pylsl loads a C library while it is imported. Where there is none (a pure-Python wheel on an old glibc or on another
processor), that is a user's problem with a remedy, not a traceback.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

from monitor.errors import SourceError

try:
    import pylsl
except (ImportError, OSError, RuntimeError) as error:
    raise SourceError(
        f"liblsl could not be loaded ({error})",
        where="Lab Streaming Layer",
        todo="Install liblsl for this system (https://github.com/sccn/liblsl/releases) and point PYLSL_LIB at it",
    ) from error

# Where liblsl itself looks for its settings, besides LSLAPICFG.
_CONFIG_FILES = (Path("lsl_api.cfg"), Path.home() / "lsl_api" / "lsl_api.cfg", Path("/etc/lsl_api/lsl_api.cfg"))
if "LSLAPICFG" not in os.environ and not any(path.is_file() for path in _CONFIG_FILES):
    # Without settings of its user liblsl writes two lines about itself into every command's messages.
    pylsl.set_config_content("[log]\nlevel = -1\n")

LSL_ERRORS: Final = (RuntimeError, OSError, ValueError)
"""Everything that pylsl raises when the network, a peer or liblsl itself fails: its TimeoutError, LostError and
InternalError are RuntimeErrors; a description that cannot be read is a ValueError."""


def own_hostname() -> str:
    """The name under which liblsl announces outlets of this machine."""
    return socket.gethostname()


__all__ = ["LSL_ERRORS", "own_hostname", "pylsl"]
