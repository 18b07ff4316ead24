"""Plain methods that every deep one stands beside: one number each, or a linear model and a forest on plain features.

| name | what it knows |
| --- | --- |
| `heart-rate` | beats a minute of the ECG, or else of the pulse wave |
| `scr-rate` | skin conductance responses a second, counted as the monitor counts them |
| `spi-style` | size of the pulse wave and beat interval, read and weighted as the monitor's SPI-style index |
| `logistic-regression`, `random-forest` | hand-crafted features of every input |

They learn from the training subjects alone and choose nothing, so the validation subjects are not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from models.data.base import IntArray, WindowSet
from models.data.guards import Learnt, Parts
from models.training import baseline
from models.training.recipe import Fitted, Recipe, Task, Told
from monitor.beats import beats_a_minute
from monitor.bundle import InputSpec
from monitor.errors import ConfigError, Problem
from monitor.scoring.comparators import ScrCounter
from monitor.scoring.pleth import beat_interval_s, middle_rank, pulse_size, spi

if TYPE_CHECKING:
    from models.base import PainModel
    from models.training.fit_settings import FitResult

FloatArray = NDArray[np.float64]

TREES: Final = 300
_BREATH_S: Final = (1.5, 10.0)
_HEARTS: Final = ("ECG", "BVP")
_KNOWN: Final = frozenset({"ECG", "BVP", "EDA", "EMG"})
_SPREAD_US: Final = 0.05
"""Windows come in units of a person's own resting spread, which is 0.05 uS at least; a response of 0.02 uS is then
0.4 of it at most. This is taken for everybody, since the windows do not say their spread in uS."""
_NEVER: Final = 1e-6
"""Probability of a class that was not among the training windows."""


# -- single numbers ----------------------------------------------------------------------------------------------------


def heart_rate(x: FloatArray, rate_hz: float, modality: str = "BVP") -> FloatArray:
    """(n,) beats a minute of (n, samples) of an ECG or a pulse wave, as the monitor's quality gate counts them.

    A window in which that finds no beats must have a number too: its strongest period.
    """
    found = [beats_a_minute(modality=modality, window=window, rate_hz=rate_hz) for window in x]
    without = [number for number, rate in enumerate(found) if rate is None]
    rates = np.array([np.nan if rate is None else rate for rate in found])
    if without:
        rates[without] = 60.0 / beat_interval_s(x[without], rate_hz)
    return rates


def responses_a_second(x: FloatArray, rate_hz: float) -> FloatArray:
    """(n,) skin conductance responses a second, by the monitor's own counter.

    Args:
        x: (n, samples) in units of the person's resting spread.
        rate_hz: Of the grid.
    """
    counts = []
    for window in x * _SPREAD_US:
        counter = ScrCounter(rate_hz=rate_hz)
        counter.add(window.astype(np.float32), 0.0)
        counts.append(counter.counted)
    return np.asarray(np.array(counts, dtype=np.float64) * rate_hz / x.shape[1])


# -- features ----------------------------------------------------------------------------------------------------------


def hand_crafted(windows: WindowSet, inputs: Sequence[InputSpec]) -> FloatArray:
    """(n, features) of every input that is a signal.

    EDA, ECG, BVP and EMG: those of `models.training.baseline.features`, and of the first three the numbers above.
    RESP: spread, mean steepness and interval of breaths. Whatever else: mean, spread, rise and steepness, of every
    channel.
    """
    blocks = []
    for item in inputs:
        values = np.asarray(windows.inputs[item.name], dtype=np.float32)
        x = values[:, 0].astype(np.float64)
        if item.modality in _KNOWN:
            blocks.append(baseline.features({item.modality.lower(): values[:, :1]}, item.rate_hz))
        if item.modality == "EDA":
            blocks.append(responses_a_second(x, item.rate_hz)[:, None])
        elif item.modality in _HEARTS:
            blocks.append(np.stack([heart_rate(x, item.rate_hz, item.modality), pulse_size(x)], axis=1))
        elif item.modality == "RESP":
            steep = np.abs(np.diff(x, axis=1)).mean(axis=1)
            blocks.append(np.stack([x.std(axis=1), steep, beat_interval_s(x, item.rate_hz, _BREATH_S)], axis=1))
        elif item.modality not in _KNOWN:
            wide = values.astype(np.float64)
            rise, steep = wide[..., -1] - wide[..., 0], np.abs(np.diff(wide, axis=-1)).mean(axis=-1)
            blocks.append(np.concatenate([wide.mean(axis=-1), wide.std(axis=-1), rise, steep], axis=1))
    return np.nan_to_num(np.concatenate(blocks, axis=1), posinf=0.0, neginf=0.0)


def _of_modality(inputs: Sequence[InputSpec], modalities: Sequence[str], method: str) -> InputSpec:
    for modality in modalities:
        for item in inputs:
            if item.modality == modality and item.channels == 1:
                return item
    told = ", ".join(item.modality for item in inputs)
    raise ConfigError(
        where=f"method {method}",
        problems=[
            Problem("inputs", f"none of {told} is {' or '.join(modalities)}", "Add one, or leave the method out")
        ],
    )


def _first(windows: WindowSet, item: InputSpec) -> FloatArray:
    """(n, samples) of an input's only channel."""
    return np.asarray(windows.inputs[item.name][:, 0], dtype=np.float64)


def _pulse(windows: WindowSet, inputs: Sequence[InputSpec]) -> tuple[FloatArray, FloatArray]:
    """(n,) size of the pulse wave and (n,) beat interval."""
    item = _of_modality(inputs, ("BVP",), "spi-style")
    x = _first(windows, item)
    return pulse_size(x), beat_interval_s(x, item.rate_hz)


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What a method sees of windows: one number, or all features."""

    method: str
    inputs: tuple[InputSpec, ...]
    known: tuple[FloatArray, ...] = ()
    """`spi-style`: sizes and intervals of the training windows in rising order, to rank by."""

    @classmethod
    def learn(cls, method: str, train: WindowSet, inputs: Sequence[InputSpec]) -> Look:
        """Of a method; nothing but the ranks of `spi-style` depends on the training windows.

        Raises:
            ConfigError: If the signal that it needs is not among the inputs.
            KeyError: If there is no such method.
        """
        for needed in _NEEDS[method]:
            _of_modality(inputs, needed, method)
        known = tuple(np.sort(values) for values in _pulse(train, inputs)) if method == "spi-style" else ()
        return cls(method=method, inputs=tuple(inputs), known=known)

    def __call__(self, windows: WindowSet) -> FloatArray:
        """(n, features)."""
        if self.method == "heart-rate":
            item = _of_modality(self.inputs, _HEARTS, self.method)
            return heart_rate(_first(windows, item), item.rate_hz, item.modality)[:, None]
        if self.method == "scr-rate":
            item = _of_modality(self.inputs, ("EDA",), self.method)
            return responses_a_second(_first(windows, item), item.rate_hz)[:, None]
        if self.method == "spi-style":
            return self._pleth_index(windows)[:, None]
        return hand_crafted(windows, self.inputs)

    def _pleth_index(self, windows: WindowSet) -> FloatArray:
        """The monitor's index (`monitor.scoring.pleth.spi`) of ranks from 0 to 100 among the training windows.

        The marketed index mixes the person's own distribution into the ranks. Here the amplitude is in units of the
        person's own baseline already, and a window has no past.
        """
        parts = []
        for known, own in zip(self.known, _pulse(windows, self.inputs), strict=True):
            below, up_to = np.searchsorted(known, own, "left"), np.searchsorted(known, own, "right")
            parts.append([middle_rank(int(a), int(b), len(known)) for a, b in zip(below, up_to, strict=True)])
        return np.array([spi(amplitude, interval) for amplitude, interval in zip(*parts, strict=True)])


_NEEDS: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = MappingProxyType(
    {
        "heart-rate": (_HEARTS,),
        "scr-rate": (("EDA",),),
        "spi-style": (("BVP",),),
        "logistic-regression": (),
        "random-forest": (),
    }
)
"""One modality of each group must be among the inputs."""


# -- methods -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Plain:
    """A plain method that has been trained on one split."""

    learnt: tuple[Learnt, ...]
    look: Look
    centre: FloatArray
    spread: FloatArray
    classifier: LogisticRegression | RandomForestClassifier
    classes: int

    @property
    def history(self) -> Mapping[str, FitResult]:
        """None: nothing of it is trained by gradient."""
        return {}

    @property
    def model(self) -> PainModel | None:
        """None: it is no network."""
        return None

    @property
    def parameters(self) -> int:
        """Coefficients, or nodes of all trees."""
        if isinstance(self.classifier, LogisticRegression):
            return int(self.classifier.coef_.size + self.classifier.intercept_.size)
        return int(sum(tree.tree_.node_count for tree in self.classifier.estimators_))

    def tell(self, windows: WindowSet) -> Told:
        """Logarithms of the probabilities, and the standardised features."""
        if not len(windows):
            return Told(logits=np.zeros((0, self.classes)), features=np.zeros((0, len(self.centre))))
        x = (self.look(windows) - self.centre) / self.spread
        p = np.full((len(windows), self.classes), _NEVER)
        p[:, self.classifier.classes_] = np.maximum(self.classifier.predict_proba(x), _NEVER)
        if isinstance(self.classifier, RandomForestClassifier):
            # Half a vote to every class: no forest is so sure that a class has no chance at all.
            trees = len(self.classifier.estimators_)
            p = (trees * p + 0.5) / (trees + 0.5 * self.classes)
        return Told(logits=np.log(p), features=x)


@dataclass(frozen=True, kw_only=True)
class PlainRecipe:
    """Trains one of them."""

    name: str
    """As in `PLAIN`."""
    trees: int = TREES
    """Of the random forest."""

    def fit(self, parts: Parts, task: Task, *, seed: int) -> dict[str, Fitted]:
        """Learn from `parts.train`, every class counting the same.

        Raises:
            ConfigError: If the signal that the method needs is not among the inputs.
            KeyError: If there is no such method.
        """
        train = parts.train.labelled()
        look = Look.learn(self.name, train, task.inputs)
        return {self.name: self._on(look, train, frozenset(parts.subjects["train"]), len(task.classes), seed)}

    def _on(
        self,
        look: Look,
        train: WindowSet,
        subjects: frozenset[str],
        classes: int,
        seed: int,
    ) -> Plain:
        values = look(train)
        centre, spread = values.mean(axis=0), values.std(axis=0)
        spread = np.where(spread > 1e-9, spread, 1.0)
        return Plain(
            learnt=(
                Learnt(name=f"{self.name}, weights", kind="weights", subjects=subjects),
                Learnt(name=f"{self.name}, scales of features", kind="scaler", subjects=subjects),
            ),
            look=look,
            centre=centre,
            spread=spread,
            classifier=fit_classifier(
                (values - centre) / spread,
                train.labels,
                forest=self.name == "random-forest",
                trees=self.trees,
                seed=seed,
            ),
            classes=classes,
        )


def fit_classifier(
    values: FloatArray, labels: IntArray, *, forest: bool = False, trees: int = TREES, seed: int
) -> LogisticRegression | RandomForestClassifier:
    """Logistic regression, or a random forest, in which every class counts the same; on one thread.

    Args:
        values: (n, features), standardised.
        labels: (n,), of two classes at least.
        forest: Which of the two.
        trees: Of the forest.
        seed: Of its draws.

    Raises:
        ValueError: If there is one class only.
    """
    if forest:
        model = RandomForestClassifier(trees, class_weight="balanced", random_state=seed, n_jobs=1)
        return model.fit(values, labels)
    return LogisticRegression(class_weight="balanced", max_iter=2000, random_state=seed).fit(values, labels)


PLAIN: Final[Mapping[str, Recipe]] = MappingProxyType({name: PlainRecipe(name=name) for name in _NEEDS})
"""All of them by name."""


def plain_for(inputs: Sequence[InputSpec]) -> tuple[str, ...]:
    """Names of those that can be trained on these inputs."""
    modalities = {item.modality for item in inputs if item.channels == 1}
    return tuple(name for name, groups in _NEEDS.items() if all(modalities & set(group) for group in groups))
