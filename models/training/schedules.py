"""How long and how fast every recipe learns: the schedules `paper` and `short`, as data, with where they come from.

`paper`: what the articles print; what they leave open is our reading and marked so.

| recipe | epochs | learning rate | batch |
|---|---|---|---|
| `crossmod`, `fcn`, `alstm`, `fat` (1) | FCN 900, ALSTM 500, block 100, fusion 50 | x0.1 at 500, 300, 80, - | 128 |
| `crossmod-end-to-end` (2) | 100 | Adam 5e-4, x0.1 at 80 | 128 |
| PainAttnNet family (3) | 100 | Adam 1e-3, 1e-4 from epoch 11 | 128 |
| `tiny-biomoe` (4) | 200 | 1e-4, cosine with warm-up and cool-down | 32 |
| `painformer-frozen` (5) | 200, 300 or 600 | AdamW 2e-5, weight decay 0.1, cosine, warm-up and cool-down 10 | 32 |

(1) CrossMod-Transformer, Table 4. (2) Ours: the paper trains in stages only. (3) Public code of PainAttnNet and
m-PainAttnNet. (4) Tiny-BioMoE, its table of training. (5) PainFormer, its table of settings.

Our readings in `paper`: CrossMod's learning rate 5e-4 (the paper tunes 1e-6 to 1e-3 and does not print it) and dropout
0.2, 0.5 in the last block (tuned in 0.1-0.4 and 0.3-0.7); Tiny-BioMoE's optimiser AdamW with weight decay 0.05, warm-up
5 and cool-down 10 epochs (as PainFormer's multi-task training), label smoothing from 0 to 0.1 and dropout from 0 to 0.5
(the paper: linear in the epoch, ends not given); `tiny-biomoe-frozen` as `painformer-frozen`, with Tiny-BioMoE's
learning rate. No paper stops early: patience is as long as the schedule, and what is kept are the weights of the best
loss on the validation subjects, where the papers keep the last epoch or, worse, the best on the test subject.

`short`: minutes on two cores, our own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final

from models.training.fit_settings import FitSettings
from models.training.recipes import one_of
from monitor.errors import ConfigError, Problem

SIGNAL_STRENGTHS: Final = ("jitter", "scaling", "time_warp", "masking", "device_rate")
IMAGE_STRENGTHS: Final = ("image_shift", "image_mask", "image_noise")
EMBEDDING_STRENGTHS: Final = (
    "embedding_basic",
    "embedding_noise",
    "embedding_mask",
    "embedding_mask_least",
    "embedding_mask_greatest",
)
STRENGTHS: Final = (*SIGNAL_STRENGTHS, *IMAGE_STRENGTHS, *EMBEDDING_STRENGTHS, "channel_dropout")
"""Augmentations by name; see `models.training.augment` and `models.training.embedding`."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One schedule of one recipe."""

    stages: Mapping[str, FitSettings]
    """By stage; recipes without stages have `model` alone."""
    augmentation: Mapping[str, float] = field(default_factory=dict)
    """Strengths by name; what is not there is off."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Of the architecture."""
    class_weights: bool = True
    """Every class counts the same, whatever its number of windows."""

    def stage(self, name: str, seed: int) -> FitSettings:
        """Settings of a stage; `seed` is its own."""
        return replace(self.stages[name], seed=seed)


def _crossmod(
    fcn: FitSettings, alstm: FitSettings, block: FitSettings, fusion: FitSettings, **more: Any
) -> Mapping[str, Plan]:
    """The stages that each recipe of the family has."""
    stages = {"fcn": fcn, "alstm": alstm, "block": block, "fusion": fusion}
    needed = {"fcn": ["fcn"], "alstm": ["alstm"], "fat": ["fcn", "alstm", "block"], "crossmod": list(stages)}
    return {name: Plan(stages={part: stages[part] for part in parts}, **more) for name, parts in needed.items()}


def _unstopped(epochs: int, milestone: int | None = None, **more: Any) -> FitSettings:
    return FitSettings(epochs=epochs, milestone=milestone, patience=epochs, **more)


GENTLE: Final[Mapping[str, float]] = MappingProxyType(
    {"jitter": 0.02, "scaling": 0.1, "time_warp": 0.01, "masking": 0.05, "device_rate": 0.2}
)
"""Of signals, in `short`: less than people and devices differ anyway."""
GENTLE_IMAGES: Final[Mapping[str, float]] = MappingProxyType(
    {"image_shift": 0.03, "image_mask": 0.15, "image_noise": 0.02}
)
EMBEDDINGS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "embedding_basic": 0.5,
        "embedding_noise": 0.1,
        "embedding_mask": 0.5,
        "embedding_mask_least": 0.1,
        "embedding_mask_greatest": 0.2,
    }
)
"""PainFormer at 200 epochs: basic 0.5 and masking 0.5 of 10-20 %; the size of the noise is our reading."""

_PAINATTNNET: Final = (
    "mscn",
    "mscn-se",
    "mscn-tran",
    "painattnnet",
    "painattnnet-late",
    "painattnnet-attention",
)
_FROZEN: Final = {"optimiser": "adamw", "weight_decay": 0.1, "decay": "cosine", "batch": 32}


def _paper() -> dict[str, Plan]:
    adam: dict[str, Any] = {"learning_rate": 5e-4, "batch": 128}
    plans = dict(
        _crossmod(
            _unstopped(900, 500, **adam),
            _unstopped(500, 300, **adam),
            _unstopped(100, 80, **adam),
            _unstopped(50, None, **adam),
        )
    )
    plans["crossmod-end-to-end"] = Plan(stages={"model": _unstopped(100, 80, **adam)})
    lu = _unstopped(100, 10, learning_rate=1e-3, batch=128, gradient_norm=1e9)
    plans |= {name: Plan(stages={"model": lu}) for name in _PAINATTNNET}
    gkikas = _unstopped(
        200,
        learning_rate=1e-4,
        batch=32,
        judged_batch=16,
        optimiser="adamw",
        weight_decay=0.05,
        decay="cosine",
        warm_up=5,
        cool_down=10,
        label_smoothing=(0.0, 0.1),
        dropout=(0.0, 0.5),
    )
    # Blur, TrivialAugment and AugMix change colours and shapes, which here are the data; one cut-out of 32 x 32 stays.
    plans["tiny-biomoe"] = Plan(stages={"model": gkikas}, augmentation={"image_mask": 32 / 224})
    plans["tiny-biomoe-frozen"] = Plan(
        stages={"model": _unstopped(200, learning_rate=1e-4, warm_up=10, cool_down=10, **_FROZEN)},
        augmentation=EMBEDDINGS,
    )
    plans["painformer-frozen"] = PAINFORMER[200]
    return plans


def _short() -> dict[str, Plan]:
    batch: dict[str, Any] = {"batch": 32}
    plans = dict(
        _crossmod(
            FitSettings(epochs=10, milestone=7, **batch),
            FitSettings(epochs=12, milestone=9, **batch),
            FitSettings(epochs=4, milestone=3, **batch),
            FitSettings(epochs=8, milestone=6, **batch),
            augmentation=GENTLE,
        )
    )
    plans["crossmod-end-to-end"] = Plan(
        stages={"model": FitSettings(epochs=8, milestone=6, **batch)}, augmentation=GENTLE
    )
    lu = FitSettings(epochs=9, milestone=6, learning_rate=1e-3, batch=32)
    plans |= {name: Plan(stages={"model": lu}, augmentation=GENTLE) for name in _PAINATTNNET}
    images = FitSettings(epochs=5, milestone=3, learning_rate=5e-4, batch=16, judged_batch=16, bfloat16=True)
    plans["tiny-biomoe"] = Plan(stages={"model": images}, augmentation=GENTLE_IMAGES)
    frozen = FitSettings(epochs=40, learning_rate=1e-3, warm_up=2, cool_down=4, **_FROZEN)
    plans["tiny-biomoe-frozen"] = Plan(stages={"model": frozen}, augmentation=EMBEDDINGS)
    plans["painformer-frozen"] = Plan(stages={"model": frozen}, augmentation=EMBEDDINGS, arguments={"head": "linear"})
    return plans


def _painformer(epochs: int, basic: float, mask: float, least: float, smoothing: float, dropout: float) -> Plan:
    settings = _unstopped(
        epochs,
        learning_rate=2e-5,
        warm_up=10,
        cool_down=10,
        label_smoothing=(smoothing, smoothing),
        dropout=(dropout, dropout),
        **_FROZEN,
    )
    strengths = {**EMBEDDINGS, "embedding_basic": basic, "embedding_mask": mask, "embedding_mask_least": least}
    return Plan(stages={"model": settings}, augmentation=strengths, arguments={"head": "mixer"})


PAINFORMER: Final[Mapping[int, Plan]] = MappingProxyType(
    {
        200: _painformer(200, 0.5, 0.5, 0.10, 0.0, 0.0),
        300: _painformer(300, 0.7, 0.7, 0.15, 0.1, 0.0),
        600: _painformer(600, 0.5, 0.5, 0.15, 0.1, 0.5),
    }
)
"""PainFormer's three settings by their epochs: basic, masking and its least share, label smoothing, dropout. Its 200
and 300 epochs were run on 30 subjects and its 600 on 87, so its gain from one to the next is not one of length."""

SCHEDULES: Final[Mapping[str, Mapping[str, Plan]]] = MappingProxyType(
    {"paper": MappingProxyType(_paper()), "short": MappingProxyType(_short())}
)
"""By schedule and recipe."""
STAGES: Final = ("fcn", "alstm", "block", "fusion", "model")

_NUMBERS: Final = tuple(item.name for item in fields(FitSettings) if item.name not in ("seed", "ordinal", "device"))
_PAIRS: Final = ("label_smoothing", "dropout")
_WHOLE: Final = ("epochs", "milestone", "batch", "patience", "judged_batch", "warm_up", "cool_down")
_REAL: Final = ("learning_rate", "gradient_norm", "weight_decay", "limit_s")
_OTHERS: Final = (
    "device", "class_weights", "augment", "arguments", "images", "fusion", "head", "published", "setting", "tune",
    "tune_folds",
)  # fmt: skip
OPTIONS: Final = (*_NUMBERS, *_OTHERS)
"""Options that a task may have: settings of `FitSettings`, one for all stages or by stage, and those that follow.

`device`: "auto", "cpu" or "cuda". `class_weights`: whether classes count the same. `augment`: strengths by name, over
the schedule's own; false for none. `arguments`: of the architecture. `images`: what is drawn of each signal, kinds or
whole descriptions. `fusion`, `head`: of image models. `published`: file of the encoder's published weights. `setting`:
200, 300 or 600 (`PAINFORMER`). `tune`: trials of a search (`models.training.tune`), on `tune_folds` inner folds.

What a recipe has no use for is passed over, since one configuration may name several recipes.
"""


def plan_of(recipe: str, schedule: str, options: Mapping[str, object], *, ordinal: bool = False) -> Plan:
    """The schedule of a recipe with a task's options over it.

    Where the epochs of a stage are changed alone, its milestone, warm-up and cool-down move in proportion.

    Args:
        recipe: Name.
        schedule: `paper` or `short`.
        options: See `OPTIONS`.
        ordinal: Learn cumulative targets.

    Raises:
        ConfigError: With everything that is wrong with the options.
    """
    where, problems = "train.options", []
    if schedule not in SCHEDULES:
        problem = Problem("train.schedule", f"'{schedule}' is none", f"one of {', '.join(SCHEDULES)}")
        raise ConfigError(where=where, problems=[problem])
    plan = SCHEDULES[schedule][recipe]
    if recipe == "painformer-frozen" and schedule == "paper" and "setting" in options:
        if options["setting"] in PAINFORMER:
            plan = PAINFORMER[options["setting"]]  # type: ignore[index]
        else:
            problems.append(Problem("setting", f"{options['setting']!r} is none", "200, 300 or 600"))
    problems += [
        Problem(name, "there is no such option", one_of(name, OPTIONS)) for name in options if name not in OPTIONS
    ]
    stages = {}
    for stage, settings in plan.stages.items():
        given = {}
        for name in _NUMBERS:
            value = options.get(name)
            if isinstance(value, Mapping):
                if unknown := sorted(str(key) for key in value if key not in STAGES):
                    problems.append(Problem(f"{name}.{unknown[0]}", "no stage", f"one of {', '.join(STAGES)}"))
                value = value.get(stage)
            if value is None or (name == "epochs" and value == 0):
                continue
            given[name] = _pair(name, value) if name in _PAIRS else value
        try:
            stages[stage] = _changed(settings, given, str(options.get("device", "auto")), ordinal)
        except ValueError as error:
            problems.append(Problem(stage, str(error)))
    arguments = {**plan.arguments, **_table(options, "arguments", problems)}
    arguments |= {name: options[name] for name in ("fusion", "head") if name in options}
    strengths = _strengths(recipe, plan, options, problems)
    if problems:
        raise ConfigError(where=where, problems=list(dict.fromkeys(problems)))
    return Plan(
        stages=stages,
        augmentation=strengths,
        arguments=arguments,
        class_weights=bool(options.get("class_weights", plan.class_weights)),
    )


def _pair(name: str, value: object) -> tuple[float, float]:
    if isinstance(value, int | float):
        return float(value), float(value)
    if isinstance(value, list | tuple) and len(value) == 2:
        return float(value[0]), float(value[1])
    raise ConfigError(where="train.options", problems=[Problem(name, f"{value!r} is neither one number nor two")])


def _changed(settings: FitSettings, given: Mapping[str, Any], device: str, ordinal: bool) -> FitSettings:
    changed = dict(given)
    for name, value in given.items():
        if name in _WHOLE and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(f"{name} is {value!r}, which is no whole number")
        if name in _REAL and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"{name} is {value!r}, which is no number")
        if name == "bfloat16" and not isinstance(value, bool):
            raise ValueError(f"bfloat16 is {value!r}, neither true nor false")
    if "epochs" in given:
        share = given["epochs"] / settings.epochs
        if settings.milestone is not None:
            changed.setdefault("milestone", max(1, round(settings.milestone * share)))
        for name in ("warm_up", "cool_down"):
            changed.setdefault(name, int(getattr(settings, name) * min(1.0, share)))
        if settings.patience >= settings.epochs:
            changed.setdefault("patience", max(1, given["epochs"]))
    return replace(settings, device=device, ordinal=ordinal, **changed)


def _table(options: Mapping[str, object], name: str, problems: list[Problem]) -> Mapping[str, Any]:
    value = options.get(name, {})
    if isinstance(value, Mapping):
        return value
    problems.append(Problem(name, f"{value!r} is no table"))
    return {}


def _strengths(recipe: str, plan: Plan, options: Mapping[str, object], problems: list[Problem]) -> Mapping[str, float]:
    given = options.get("augment", {})
    if given is False:
        return {}
    if given is True:
        return plan.augmentation or SCHEDULES["short"][recipe].augmentation
    if not isinstance(given, Mapping):
        problems.append(Problem("augment", f"{given!r} is neither a table nor true or false"))
        return {}
    usual = SCHEDULES["short"][recipe].augmentation
    strengths = dict(plan.augmentation)
    for name, value in given.items():
        if name not in STRENGTHS:
            problems.append(Problem(f"augment.{name}", "there is none", one_of(name, tuple(STRENGTHS))))
        elif isinstance(value, bool):
            strengths[name] = usual.get(name, 0.0) if value else 0.0
        elif isinstance(value, int | float) and 0.0 <= value <= 1.0:
            strengths[name] = float(value)
        else:
            problems.append(Problem(f"augment.{name}", f"{value!r} is no strength", "a number from 0 to 1"))
    if strengths.get("channel_dropout") and recipe != "painattnnet-attention":
        problems.append(
            Problem(
                "augment.channel_dropout",
                f"{recipe} cannot miss a signal: zeros in its place would be a signal of its own",
                "a lost signal means another bundle; painattnnet-attention alone leaves one out",
            )
        )
    return {name: value for name, value in strengths.items() if value}
