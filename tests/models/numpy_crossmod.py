"""CrossMod-Transformer in float64 numpy, written from the paper's tables and equations and not from the torch code."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Mapping[str, Array]


def crossmod(weights: Weights, signals: Mapping[str, Array], preset: str = "tables") -> dict[str, Array]:
    """All outputs for one example of two signals (S,), in the order in which the model joins them."""
    first, second = signals
    tokens, temporal = {}, {}
    for name, signal in signals.items():
        part = _part(weights, f"encoders.{name}.")
        features, sequence, temporal[name] = _both(part, signal)
        block = _part(part, "block.")
        if preset == "tables":
            tokens[name] = dense(block, fused(block, features, sequence)[0])[-1]
        elif preset == "fig8":  # the ALSTM's own states, and the tokens before FC1
            tokens[name] = fused(block, features, sequence[:, sequence.shape[1] // 2 :])[0]
        else:  # "literal": g of Eq. 5 and [c; h_S] of Eq. 10, one token each
            g, last = features.mean(axis=0, keepdims=True), sequence[-1:]
            tokens[name] = dense(block, fused(block, g, last)[0])[-1]

    block = _part(weights, "block.")
    mixed, maps = fused(block, tokens[first], tokens[second])
    hidden = dense(block, mixed.mean(axis=0))
    logits = weights["fc4.weight"] @ hidden[-1] + weights["fc4.bias"]

    # d logit / d (mean over time), layer by layer from behind.
    gradient = weights["fc4.weight"][np.argmax(logits)]
    for layer in (3, 2, 1):
        gradient = np.where(hidden[layer - 1] > 0, gradient, 0.0) @ block[f"fc{layer}.weight"]
    shown = mixed * gradient / len(mixed)
    half = shown.shape[1] // 2
    over_time = {f"temporal.{first}": temporal[first], f"temporal.{second}": temporal[second]}
    if preset == "literal":
        return {"logits": logits, "features": hidden[-1], **over_time}
    return {
        "logits": logits,
        "features": hidden[-1],
        f"self.{first}": maps[0],
        f"self.{second}": maps[1],
        f"cross.{first}_from_{second}": maps[2],
        f"cross.{second}_from_{first}": maps[3],
        **over_time,
        f"embedding.{first}": shown[:, :half],
        f"embedding.{second}": shown[:, half:],
    }


def alone(weights: Weights, architecture: str, name: str, signal: Array) -> dict[str, Array]:
    """All outputs of FCN, ALSTM or FAT on one signal (S,)."""
    if architecture == "crossmod-fat":
        part = _part(weights, "encoder.")
        block = _part(part, "block.")
        features, sequence, temporal = _both(part, signal)
        mixed, maps = fused(block, features, sequence)
        hidden = dense(block, mixed.mean(axis=0))[-1]
        names = ("self.fcn", "self.alstm", "cross.fcn_from_alstm", "cross.alstm_from_fcn")
        logits = linear(weights, "fc4", hidden)
        return {
            "logits": logits,
            "features": hidden,
            **dict(zip(names, maps, strict=True)),
            f"temporal.{name}": temporal,
        }
    shown = {}
    if architecture == "crossmod-fcn":
        features = fcn(_part(weights, "fcn.layers."), signal).mean(axis=0)
    else:
        sequence, temporal = alstm(_part(weights, "alstm.lstm."), _part(weights, "alstm.score."), signal)
        features, shown = sequence[-1], {f"temporal.{name}": temporal}
    logits = linear(weights, "head.2", np.maximum(linear(weights, "head.0", features), 0.0))
    return {"logits": logits, "features": features, **shown}


def _both(part: Weights, signal: Array) -> tuple[Array, Array, Array]:
    """Tokens of the FCN and of the ALSTM, and attention over time."""
    sequence, temporal = alstm(_part(part, "alstm.lstm."), _part(part, "alstm.score."), signal)
    return fcn(_part(part, "fcn.layers."), signal), sequence, temporal


def fcn(weights: Weights, signal: Array) -> Array:
    """Table 1: (S,) -> (S, 128)."""
    x = signal[:, np.newaxis]
    for layer, kernel in enumerate((8, 5, 3)):
        w = _part(weights, f"{layer}.")
        left = {8: 3, 5: 2, 3: 1}[kernel]
        padded = np.zeros((len(x) + kernel - 1, x.shape[1]))
        padded[left : left + len(x)] = x
        y = sum(padded[j : j + len(x)] @ w["conv.weight"][:, :, j].T for j in range(kernel)) + w["conv.bias"]
        y = (y - w["norm.running_mean"]) / np.sqrt(w["norm.running_var"] + 1e-5)
        x = np.maximum(y * w["norm.weight"] + w["norm.bias"], 0.0)
    return x


def alstm(lstm: Weights, score: Weights, signal: Array) -> tuple[Array, Array]:
    """Table 2, Eqs. 6-10: (S,) -> [c; h_t] (S, 2 * hidden) and alpha (S,)."""
    hidden = lstm["weight_hh_l0"].shape[1]
    x = signal[:, np.newaxis]
    for layer in (0, 1):
        state, cell, states = np.zeros(hidden), np.zeros(hidden), []
        bias = lstm[f"bias_ih_l{layer}"] + lstm[f"bias_hh_l{layer}"]
        for value in x:
            gates = lstm[f"weight_ih_l{layer}"] @ value + lstm[f"weight_hh_l{layer}"] @ state + bias
            i, f, g, o = np.split(gates, 4)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            state = sigmoid(o) * np.tanh(cell)
            states.append(state)
        x = np.array(states)
    e = x @ score["weight"][0] + score["bias"]
    e = np.where(e >= 0, e, (np.exp(e) - 1.0) / (1.0 + np.exp(-e)))
    alpha = softmax(e)
    context = alpha @ x
    return np.concatenate([np.tile(context, (len(x), 1)), x], axis=1), alpha


def fused(block: Weights, a: Array, b: Array) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    """Table 3 up to the concatenation: two (S, 128) -> (S, 256), and self, self, cross, cross (S, S)."""
    a, self_a = encoder(_part(block, "encoder1."), a)
    b, self_b = encoder(_part(block, "encoder2."), b)
    from_b, cross_ab = attention(_part(block, "cross1."), a, b)
    from_a, cross_ba = attention(_part(block, "cross2."), b, a)
    return np.concatenate([from_b, from_a], axis=1), (self_a, self_b, cross_ab, cross_ba)


def encoder(w: Weights, x: Array) -> tuple[Array, Array]:
    """Post-norm encoder layer."""
    attended, weights = attention(_part(w, "attention."), x, x)
    x = norm(_part(w, "norm1."), x + attended)
    expanded = linear(w, "linear2", np.maximum(linear(w, "linear1", x), 0.0))
    return norm(_part(w, "norm2."), x + expanded), weights


def attention(w: Weights, queries: Array, memory: Array) -> tuple[Array, Array]:
    """Eight heads, one at a time; output (T, width) and the mean of the heads' weights (T, S)."""
    q, k, v = linear(w, "query", queries), linear(w, "key", memory), linear(w, "value", memory)
    mixed, maps = [], []
    for head in range(8):
        size = q.shape[1] // 8
        own = slice(size * head, size * head + size)
        weights = softmax(q[:, own] @ k[:, own].T / np.sqrt(size))
        mixed.append(weights @ v[:, own])
        maps.append(weights)
    return linear(w, "out", np.concatenate(mixed, axis=1)), np.mean(maps, axis=0)


def dense(block: Weights, x: Array) -> tuple[Array, Array, Array]:
    """FC1-3, each with ReLU; all three results."""
    results = []
    for layer in (1, 2, 3):
        x = np.maximum(linear(block, f"fc{layer}", x), 0.0)
        results.append(x)
    return results[0], results[1], results[2]


def linear(w: Weights, name: str, x: Array) -> Array:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(w: Weights, x: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * w["weight"] + w["bias"]


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-x))


def _part(weights: Weights, prefix: str) -> dict[str, Array]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
