from __future__ import annotations

import numpy as np
import pytest
import torch

from models.blocks.spectral import SpectralGate, dft_matrices

every_size = pytest.mark.parametrize(("height", "width"), [(56, 56), (28, 28), (6, 10), (5, 4)])


def gate_and_tokens(height: int, width: int) -> tuple[SpectralGate, torch.Tensor]:
    torch.manual_seed(1)
    gate = SpectralGate(dim=8, height=height, width=width)
    with torch.no_grad():
        gate.complex_weight.normal_()
    return gate, torch.randn(3, height * width, 8)


@every_size
def test_products_of_matrices_give_what_the_transforms_give(height: int, width: int) -> None:
    gate, tokens = gate_and_tokens(height, width)
    with torch.no_grad():
        torch.testing.assert_close(gate.products(tokens), gate(tokens), rtol=1e-5, atol=1e-5)
        assert gate(tokens).abs().max() > 1.0


@every_size
def test_both_forms_learn_the_same(height: int, width: int) -> None:
    gate, tokens = gate_and_tokens(height, width)
    direction = torch.randn(tokens.shape)
    gradients = []
    for form in (gate.forward, gate.products):
        gate.zero_grad()
        (form(tokens) * direction).sum().backward()
        assert gate.complex_weight.grad is not None
        gradients.append(gate.complex_weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-4)
    assert gradients[0].abs().max() > 0.1


def test_an_exported_gate_has_no_transform() -> None:
    gate, tokens = gate_and_tokens(6, 10)
    program = torch.export.export(gate, (tokens,))
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert any("matmul" in name for name in called)
    assert not any("fft" in name for name in called)
    torch.testing.assert_close(program.module()(tokens), gate(tokens), rtol=1e-5, atol=1e-5)


def test_a_filter_of_ones_changes_nothing_and_one_peak_moves_the_image() -> None:
    gate, tokens = gate_and_tokens(6, 10)
    moved = np.exp(-2j * np.pi * 3 * np.arange(6) / 6)[:, None, None] * np.ones((6, 6, 8))
    for weight, shift in ((np.ones((6, 6, 8), complex), 0), (moved, 3)):
        with torch.no_grad():
            gate.complex_weight.copy_(torch.view_as_real(torch.from_numpy(weight)))
            found = gate.products(tokens).unflatten(1, (6, 10))
        expected = tokens.unflatten(1, (6, 10)).roll(shift, dims=1)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_matrices_are_numpys_transform() -> None:
    image = np.random.default_rng(2).standard_normal((6, 10))
    along_row, along_column, _, _ = (matrix.numpy() for matrix in dft_matrices(6, 10))
    rows = (along_row @ image[:, :, None]).reshape(12, 6)
    plane = along_column @ rows
    expected = np.fft.rfft2(image, norm="ortho")
    np.testing.assert_allclose(plane[:6] + 1j * plane[6:], expected, atol=1e-6)


def test_an_odd_number_of_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="even number of columns, not 7"):
        SpectralGate(dim=2, height=6, width=7)
