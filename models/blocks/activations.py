"""Activations that torch does not have."""

from __future__ import annotations

import torch
from torch import Tensor


def elish(x: Tensor) -> Tensor:
    """ELiSH as Eq. 7 of the CrossMod-Transformer paper prints it: x for x >= 0, (e^x - 1) / (1 + e^-x) below.

    The ELiSH of Basirat and Roth (2018) is x * sigmoid(x) for x >= 0; the printed equation is the one taken here.
    """
    # The clamp keeps e^x finite in the branch that `where` throws away, and with it the gradient.
    negative = x.clamp(max=0.0)
    return torch.where(x >= 0, x, (torch.exp(negative) - 1.0) * torch.sigmoid(negative))
