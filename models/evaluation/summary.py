"""Figures of methods, as plain values: what `models.evaluation.metrics` computes and the report draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with the interval in which it would lie for other people (95 %, bootstrap over subjects)."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """One of 15 bins of equal mass."""

    told: float
    """Mean probability of pain that the method gave."""
    true: float
    """Share of windows that were painful."""
    count: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method on one subset of the held-out windows."""

    method: str
    subset: str
    """`all`, `responders`, `phasic`, `tonic`."""
    classes: tuple[str, ...]
    seeds: tuple[int, ...]
    subjects: int
    windows: int
    figures: Mapping[str, Figure]
    """balanced_accuracy, accuracy, macro_f1, mcc, auroc, auprc, sensitivity_at_90, (ordered classes:) mae, qwk;
    ece, brier, slope, intercept. Means over seeds; intervals over subjects."""
    confusion: tuple[tuple[int, ...], ...]
    """Rows are true classes, columns told ones; seeds added up."""
    subject_f1: Mapping[str, float] = field(default_factory=dict)
    """Macro F1 by subject, mean over seeds: the violins of the CrossMod paper's Fig. 4."""
    reliability: tuple[ReliabilityBin, ...] = ()
    spread_of_seeds: Mapping[str, float] = field(default_factory=dict)
    """Standard deviation over seeds by figure, where there are several."""
    miscalibration: Mapping[str, float] = field(default_factory=dict)
    """What the ECE is made of (`models.evaluation.miscalibration`), mean over seeds; only on all subjects, where it
    is above the aim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two methods on the same subjects."""

    method: str
    other: str
    subset: str
    figure: str
    difference: Figure
    """`method` less `other`, paired by subject."""
    p: float
    """Wilcoxon signed rank over subjects, two-sided."""
    p_holm: float
    """Corrected for all comparisons of the table (Holm)."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """All of a run."""

    data: str
    """`simulated patients`, or the kind of data set."""
    protocol: str
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()
    """Printed beside every table, e.g. which rows are set by construction."""
