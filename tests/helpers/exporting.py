"""One variant of each architecture, exported and checked by a test; all of them by `export all --check`.

In files of their own, so that both cores have some: an export takes seconds to a minute.
"""

from __future__ import annotations

from collections.abc import Sequence

from export.matrix import cases, examine
from models.registry import list_models

ELSEWHERE = {
    "crossmod-transformer": "test_parity.py",
    "painattnnet-attention": "test_painattnnet.py",
    "se-cnn": "test_se_cnn.py",
}
IMAGES = ("painformer", "tiny-biomoe")
SIGNALS = tuple(sorted(set(list_models()) - ELSEWHERE.keys() - set(IMAGES)))


def assert_exported_and_checked(architecture: str, *, batches: Sequence[int]) -> None:
    """Export the first variant of an architecture with halved weights; its check holds, and would notice a dead part.

    The full check, all batches and every probe, is `export all --check`; here time counts.
    """
    case = next(case for case in cases() if case.architecture == architecture)
    outcome = examine(case, batches=tuple(batches), most_probes=3)
    assert outcome.problem == ""
    assert {result.batch for result in outcome.results} == set(batches)
    assert {"logits", "features"} <= {result.output for result in outcome.results}
    assert all(result.passed for result in outcome.results)
    assert outcome.probes >= 1
    assert outcome.weakest > 5.0
    # Both graphs share what they hold, in half precision: four bytes a value would be twice as much.
    assert outcome.size < 2.7 * outcome.parameters + 1_000_000
    for name, value in outcome.noise.items():
        assert 0 < value < 1e-3, name
