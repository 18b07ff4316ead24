"""Every way to train by its name: what it reads, and where it is. Nothing is imported before it is asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from models.training.fit_settings import OnEpoch
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

    form: Form | None
    """None: it reads what the first recipe of the run reads."""
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


def _staged(*, most: int = 8) -> Entry:
    return Entry(form=CROSSMOD, module="models.training.staged", make="StagedRecipe", most=most)


def _whole(architecture: str, form: Form, *, least: int = 1, most: int = 8, **more: Any) -> Entry:
    return Entry(
        form=form,
        module="models.training.end_to_end",
        make="EndToEndRecipe",
        arguments={"architecture": architecture, "least": least, "most": most, **more},
        least=least,
        most=most,
    )


def _raw(architecture: str, *, least: int = 1) -> Entry:
    return _whole(architecture, PAINATTNNET, least=least, rate_hz=PAINATTNNET.rate_hz, whole_length=True)


def _frozen(architecture: str, form: Form) -> Entry:
    return Entry(
        form=form, module="models.training.embedding", make="FrozenRecipe", arguments={"architecture": architecture}
    )


def _plain(*needs: tuple[str, ...]) -> Entry:
    return Entry(
        form=None,
        module="models.evaluation.baselines",
        make="PlainRecipe",
        needs=needs or (("ECG", "BVP", "EDA", "EMG"),),
        baseline=True,
    )


RECIPES: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "crossmod": _staged(most=2),
        "fcn": _staged(),
        "alstm": _staged(),
        "fat": _staged(),
        "crossmod-end-to-end": _whole("crossmod-transformer", CROSSMOD, least=2, most=2),
        "mscn": _raw("mscn"),
        "mscn-se": _raw("mscn-se"),
        "mscn-tran": _raw("mscn-tran"),
        "painattnnet": _raw("painattnnet"),
        "painattnnet-late": _raw("painattnnet-late", least=2),
        "painattnnet-attention": _raw("painattnnet-attention", least=2),
        "tiny-biomoe": _whole("tiny-biomoe", IMAGES, images=True),
        "tiny-biomoe-frozen": _frozen("tiny-biomoe", IMAGES),
        "painformer-frozen": _frozen("painformer", PAINATTNNET),
        "heart-rate": _plain(("ECG", "BVP")),
        "scr-rate": _plain(("EDA",)),
        "spi-style": _plain(("BVP",)),
        "logistic-regression": _plain(),
        "random-forest": _plain(),
    }
)
"""By name. `crossmod` gives `fcn-<input>`, `alstm-<input>` and `fat-<input>` of each signal, and of two signals
`crossmod`; `fcn`, `alstm` and `fat` give their own of these; all others one method of their own name."""


def make_recipe(name: str, *, on_epoch: OnEpoch | None = None) -> Recipe:
    """The recipe of a name.

    Args:
        name: One of `RECIPES`.
        on_epoch: Is told how a training goes: stage, epochs done, epochs at most, training and validation loss.

    Raises:
        KeyError: If there is none.
    """
    entry = RECIPES[name]
    make: Callable[..., Recipe] = getattr(importlib.import_module(entry.module), entry.make)
    more = {} if entry.baseline else {"on_epoch": on_epoch}
    return make(name=name, **more, **entry.arguments)


def methods_of(name: str, signals: Sequence[str]) -> tuple[str, ...]:
    """Methods that a recipe gives, by name.

    Args:
        name: One of `RECIPES`.
        signals: Names of the inputs that it reads.
    """
    if name not in ("crossmod", "fcn", "alstm", "fat"):
        return (name,)
    parts = ("fcn", "alstm", "fat") if name == "crossmod" else (name,)
    whole = ("crossmod",) if name == "crossmod" and len(signals) == 2 else ()
    return (*(f"{part}-{signal}" for signal in signals for part in parts), *whole)


def one_of(name: str, known: Sequence[str]) -> str:
    """What to write instead of a name that is none: the one that looks most like it, then all."""
    close = difflib.get_close_matches(name, known, n=1)
    return (f"did you mean '{close[0]}'? " if close else "") + f"one of {', '.join(known)}"


def forms_of(recipes: Sequence[str]) -> dict[str, Form]:
    """The form that each of a run's recipes reads; baselines read that of the first."""
    first = next((form for name in recipes if (form := RECIPES[name].form) is not None), CROSSMOD)
    return {name: RECIPES[name].form or first for name in recipes}
