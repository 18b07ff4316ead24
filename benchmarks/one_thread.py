"""Environment variables that hold numerical libraries to one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

VARIABLES: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def is_single_threaded(environment: Mapping[str, str]) -> bool:
    """Whether an environment holds every library to one thread."""
    return all(environment.get(name) == "1" for name in VARIABLES)


def single_threaded(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with one thread for every library."""
    return {**environment, **dict.fromkeys(VARIABLES, "1")}


def unrestricted(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without these limits, for processes that must run as a user would start them."""
    return {name: value for name, value in environment.items() if name not in VARIABLES}
