"""Every way to train by its name: what it reads, and where it is. Nothing is imported before it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from models.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Form:
    """The window that an architecture was published for."""

    rate_hz: float
    samples: int


CROSSMOD: Final = Form(25.0, 138)
PAINATTNNET: Final = Form(512.0, 2816)
IMAGES: Final = Form(100.0, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One recipe."""

    form: Form
    module: str
    make: str
    """Name in the module: a class or function that gives the recipe."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    least: int = 1
    """Signals that it reads at least."""
    most: int = 8
    needs: tuple[tuple[str, ...], ...] = ()
    """One modality of each of these groups must be among the inputs."""
    baseline: bool = False

    def refuses(self, modalities: Sequence[str]) -> str:
        """Why it cannot read these, or an empty text."""
        if len(modalities) < self.least:
            return f"it reads {self.least} signals at least"
        if len(modalities) > self.most:
            return f"it reads {self.most} signal{'s' if self.most > 1 else ''} at most"
        for group in self.needs:
            if not set(group) & set(modalities):
                return f"it needs {' or '.join(group)}"
        return ""


def _architecture(architecture: str, form: Form, *, least: int = 1, most: int = 8, **more: Any) -> Entry:
    return Entry(
        form=form,
        module="models.training.architecture",
        make="ArchitectureRecipe",
        arguments={"architecture": architecture, **more},
        least=least,
        most=most,
    )


RECIPES: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "fcn": _architecture("crossmod-fcn", CROSSMOD, each=True),
        "alstm": _architecture("crossmod-alstm", CROSSMOD, each=True),
        "fat": _architecture("crossmod-fat", CROSSMOD, each=True),
    }
)
"""By name."""


def make_recipe(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        KeyError: If there is none.
    """
    entry = RECIPES[name]
    make: Callable[..., Recipe] = getattr(importlib.import_module(entry.module), entry.make)
    return make(name=name, **entry.arguments) if entry.arguments else make()
