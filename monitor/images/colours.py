"""Colour tables of 256 colours, and the mapping of values onto them."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitor.types import Float32Array

Bytes: TypeAlias = NDArray[np.uint8]
Colours: TypeAlias = Literal["viridis", "grey"]


def shades(data: NDArray[Any]) -> Bytes:
    """Places in a table of 256 colours, as matplotlib scales an image: linear from the least to the greatest value.

    Data that are all the same take the lowest colour.

    Args:
        data: Finite values of any shape.
    """
    low = data.min()
    spread = data.max() - low
    if not spread > 0.0:
        return np.zeros(data.shape, np.uint8)
    places = (data - low) / spread
    places *= 256.0
    # The greatest value is 256, one beyond the last colour.
    np.minimum(places, 255.0, out=places)
    found: Bytes = places.astype(np.uint8)
    return found


@lru_cache(maxsize=4)
def table(colours: Colours) -> Bytes:
    """(256, 3) red, green and blue of a table, read-only; 0 is the lowest colour."""
    if colours == "grey":
        found: Bytes = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        found.setflags(write=False)
        return found
    return np.frombuffer(base64.b64decode(_VIRIDIS), np.uint8).reshape(256, 3)


@lru_cache(maxsize=32)
def scaled_table(colours: Colours, mean: tuple[float, float, float], std: tuple[float, float, float]) -> Float32Array:
    """(3, 256) what a model is given for each colour: (colour / 255 - mean) / std, rounded once to single precision."""
    scaled: Float32Array = ((table(colours) / 255.0 - np.array(mean)) / np.array(std)).T.astype(np.float32, order="C")
    scaled.setflags(write=False)
    return scaled


# matplotlib's map of that name (CC0), 3 bytes a colour.
_VIRIDIS: Final = (
    "RAFURAJVRANXRQVYRQZaRQhbRglcRgteRgxfRg5hRw9iRxFjRxJlRxRmRxVnRxZpRxhqSBlrSBpsSBxuSB1vSB5wSCBxSCFySCJzSCN0RyV1RyZ2"
    "Ryd3Ryh4Ryp5Ryt6Ryx7Ri18Ri98RjB9RjF+RTJ/RTR/RTWARTaBRDeBRDmCQzqDQzuDQzyEQj2EQj6FQkCFQUGGQUKGQEOHQESHP0WHP0eIPkiI"
    "PkmJPUqJPUuJPUyJPE2KPE6KO1CKO1GKOlKLOlOLOVSLOVWLOFaLOFeMN1iMN1mMNlqMNluMNVyMNV2MNF6NNF+NM2CNM2GNMmKNMmONMWSNMWWN"
    "MWaNMGeNMGiNL2mNL2qNLmuOLmyOLm2OLW6OLW+OLHCOLHGOLHKOK3OOK3SOKnWOKnaOKneOKXiOKXmOKHqOKHqOKHuOJ3yOJ32OJ36OJn+OJoCO"
    "JoGOJYKOJYONJISNJIWNJIaNI4eNI4iNI4mNIomNIoqNIouNIYyNIY2MIY6MII+MIJCMIJGMH5KMH5OLH5SLH5WLH5aLHpeKHpiKHpmKHpmKHpqJ"
    "HpuJHpyJHp2IHp6IHp+IHqCHH6GHH6KGH6OGIKSFIKWFIaaFIaeEIqeEI6iDI6mCJKqCJauBJqyBJ62AKK5/Ka9/KrB+K7F9LLF9LrJ8L7N7MLR6"
    "MrV6M7Z5Nbd4Nrh3OLl2Obl2O7p1Pbt0PrxzQL1yQr5xRL5wRb9vR8BuScFtS8JsTcJrT8NpUcRoU8VnVcZmV8ZlWcdkW8hiXslhYMlgYspfZMtd"
    "Z8xcacxba81Zbc5YcM5Wcs9VdNBUd9BSedFRfNJPftJOgdNMg9NLhtRJiNVHi9VGjdZEkNZDktdBldc/l9g+mtg8ndk6n9k4oto3pdo1p9szqtsy"
    "rdwwr9wust0std0rt90put4nvd4mv98kwt8ixd8hx+AfyuAezeAdz+Ec0uEb1OEa1+IZ2uIY3OIY3+MY4eMY5OMY5+QZ6eQZ7OQa7uUb8eUc8+Ue"
    "9uYf+OYh+uYi/eck"
)
