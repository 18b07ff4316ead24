"""Ordered classes as cumulative targets, without another kind of output.

The loss is that of CORAL (Cao, Mirjalili, Raschka, "Rank consistent ordinal regression for neural networks", 2020,
Eq. 5; after Li and Lin, 2006): for K classes K - 1 questions "is the class above k?", each with its binary cross
entropy, summed. CORAL answers them by one number and K - 1 biases, so that the network would end in K - 1 outputs.
Here, **other than in CORAL**, they are answered by the class probabilities themselves:

    P(y > k) = sum_{j > k} softmax(z)_j,   logit P(y > k) = logsumexp(z_{j > k}) - logsumexp(z_{j <= k})

so that the network keeps K logits whose softmax is the class probability, and a bundle is the same as any other. The
answers fall with k by construction, which is CORAL's rank consistency. (CORN, 2021, asks conditional questions
instead; it is not used.) With two classes the loss is cross entropy.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def cumulative_logits(logits: Tensor) -> Tensor:
    """(n, K) class logits -> (n, K - 1) logits of P(y > k), falling with k."""
    below = torch.logcumsumexp(logits, dim=1)[:, :-1]
    above = torch.logcumsumexp(logits.flip(1), dim=1).flip(1)[:, 1:]
    return above - below


def cumulative_loss(logits: Tensor, labels: Tensor, *, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Mean over windows of the binary cross entropies summed over thresholds.

    Args:
        logits: (n, K).
        labels: (n,) class numbers, the least first.
        weights: (K,) weight of a window by its class; the mean is weighted, as in torch's cross entropy.
        smoothing: p in 0..1; every answer's target is 1 - p / 2 or p / 2.
    """
    asked = torch.arange(logits.shape[1] - 1, device=labels.device)
    targets = (labels[:, None] > asked).to(logits.dtype) * (1.0 - smoothing) + 0.5 * smoothing
    each = functional.binary_cross_entropy_with_logits(cumulative_logits(logits), targets, reduction="none").sum(dim=1)
    if weights is None:
        return each.mean()
    of_each = weights[labels]
    return (of_each * each).sum() / of_each.sum()
