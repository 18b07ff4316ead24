from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from torch import nn

from export.fill import fill, fill_model


# Checksums of the published reference vectors (PainAttnNet), which were made by an independent program.
@pytest.mark.parametrize(
    ("key", "shape", "crc32"),
    [
        ("mscn.short_scale.0.weight", (64, 1, 50), 3837230970),
        ("mscn.short_scale.1.running_mean", (64,), 1071885188),
        ("mscn.short_scale.1.running_var", (64,), 108080648),
        ("encoderWrapper.layers.0.self_attn.multihead_attention.in_proj_weight", (90, 30), 2592828784),
        ("encoderWrapper.layers.0.self_attn.multihead_attention.in_proj_bias", (90,), 3351627120),
    ],
)
def test_the_rule_gives_the_reference_bytes(key: str, shape: tuple[int, ...], crc32: int) -> None:
    assert zlib.crc32(fill(key, shape).tobytes()) == crc32


def test_an_entry_without_a_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="no rule for gate"):
        fill("gate", (3,))


def test_every_entry_of_a_module_is_filled_by_its_name() -> None:
    module = nn.ModuleDict({"lstm": nn.LSTM(1, 4), "norm": nn.BatchNorm1d(3)})
    module["norm"].num_batches_tracked += 5
    fill_model(module)
    for key, value in module.state_dict().items():
        expected = fill(key, tuple(value.shape)) if value.is_floating_point() else np.zeros(())
        np.testing.assert_array_equal(value.numpy(), expected)
    assert torch.count_nonzero(module["lstm"].bias_hh_l0) == 16
