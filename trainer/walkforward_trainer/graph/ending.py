"""The tail as nodes: log-odds → meta model or vote → calibration → probabilities. The mirror of :mod:`walkforward_trainer.tail`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from walkforward_trainer.calibration import SURE, Curve
from walkforward_trainer.tail import LEAST_SHARE, Meta

if TYPE_CHECKING:
    from walkforward_trainer.calibration import Sigmoid
    from walkforward_trainer.graph.nodes import Nodes
    from walkforward_trainer.tail import Tail, Vote

__all__ = ["add_tail", "both"]


def add_tail(nodes: Nodes, z: str, tail: Tail) -> str:
    """Add the tail of log-odds ``z`` and return the tensor of probabilities, shape (N, C), still double."""
    join = tail.join
    joined = _meta(nodes, z, join) if isinstance(join, Meta) else _vote(nodes, z, join)
    if tail.calibrators:
        columns = [joined] if tail.classes == 2 else [nodes.pick(joined, [one], f"joined_{one}") for one in range(tail.classes)]
        done = [_calibrated(nodes, column, one, f"cal{i}") for i, (column, one) in enumerate(zip(columns, tail.calibrators, strict=True))]
        joined = nodes.beside(done, "calibrated")
    if tail.classes == 2:
        # the last digit of a sum may lie outside
        return both(nodes, nodes.within(joined, 0.0, 1.0, "p1"), "p")
    if not tail.calibrators and tail.neutral == 1.0:
        return joined
    kept = nodes.add("Max", [joined, nodes.number(LEAST_SHARE)], "kept")
    if tail.neutral != 1.0:
        kept = nodes.add("Mul", [kept, nodes.constant("balance", np.array([[1.0, tail.neutral, 1.0]]))], "balanced")
    return nodes.add("Div", [kept, nodes.total(kept, "kept_sum")], "p_64")


def both(nodes: Nodes, one: str, name: str) -> str:
    """Return the probabilities of both classes beside each other, from that of class 1."""
    zero = nodes.add("Sub", [nodes.number(1.0), one], f"{name}_rest")
    return nodes.beside([zero, one], f"{name}_64")


def _meta(nodes: Nodes, z: str, meta: Meta) -> str:
    rows = enumerate(zip(meta.weights, meta.bias, strict=True))
    logits = [nodes.logistic_sum(z, weights, float(bias), f"meta{index}") for index, (weights, bias) in rows]
    if len(logits) == 1:
        return nodes.add("Sigmoid", logits, "meta")
    return nodes.add("Softmax", [nodes.beside(logits, "meta_logits")], "meta", axis=1)


def _vote(nodes: Nodes, z: str, vote: Vote) -> str:
    """Add the weighted mean of the models' own probabilities, which their log-odds say."""
    models, wide = len(vote.weights), vote.classes - 1
    if vote.classes == 2:
        shares = nodes.add("Sigmoid", [z], "vote_shares")
        return nodes.total(nodes.add("Mul", [shares, nodes.constant("votes", vote.weights[None, :])], "vote_terms"), "vote")
    own = []
    for model in range(models):
        odds = nodes.pick(z, list(range(model * wide, (model + 1) * wide)), f"vote{model}_z")
        first = nodes.pick(odds, [0], f"vote{model}_first")
        first = nodes.add("Sub", [first, first], f"vote{model}_zero")
        own.append(nodes.add("Softmax", [nodes.beside([first, odds], f"vote{model}_odds")], f"vote{model}_shares", axis=1))
    columns = []
    for one in range(vote.classes):
        ballots = nodes.beside([nodes.pick(shares, [one], f"{shares}_{one}") for shares in own], f"vote_{one}_shares")
        terms = nodes.add("Mul", [ballots, nodes.constant("votes", vote.weights[None, :])], f"vote_{one}_terms")
        columns.append(nodes.total(terms, f"vote_{one}"))
    return nodes.beside(columns, "vote")


def _calibrated(nodes: Nodes, p: str, one: Curve | Sigmoid, name: str) -> str:
    """Return the calibrated (N, 1) probability of ``p``."""
    if isinstance(one, Curve):
        return _curve(nodes, p, one, name)
    kept = nodes.within(p, SURE, 1.0 - SURE, f"{name}_kept")
    rest = nodes.add("Sub", [nodes.number(1.0), kept], f"{name}_rest")
    odds = nodes.add("Sub", [nodes.add("Log", [kept], f"{name}_log"), nodes.add("Log", [rest], f"{name}_log_rest")], f"{name}_odds")
    return nodes.add("Sigmoid", [nodes.logistic_sum(odds, [one.slope], one.offset, f"{name}_logit")], name)


def _curve(nodes: Nodes, p: str, curve: Curve, name: str) -> str:
    """Add the isotonic curve, exactly: y0 + Σ slope_k · clip(p - x_k, 0, width_k), one term a segment."""
    width = np.diff(curve.x)
    rising = (width > 0) & (np.diff(curve.y) > 0)
    width, start = width[rising], curve.x[:-1][rising]
    slope = np.diff(curve.y)[rising] / width
    if not len(width):  # constant
        width, start, slope = np.ones(1), curve.x[:1], np.zeros(1)
    beyond = nodes.add("Sub", [p, nodes.constant(f"{name}_start", start[None, :])], f"{name}_beyond")
    positive = nodes.add("Max", [beyond, nodes.number(0.0)], f"{name}_positive")
    part = nodes.add("Min", [positive, nodes.constant(f"{name}_width", width[None, :])], f"{name}_part")
    terms = nodes.add("Mul", [part, nodes.constant(f"{name}_slope", slope[None, :])], f"{name}_terms")
    return nodes.add("Add", [nodes.total(terms, f"{name}_rise"), nodes.constant(f"{name}_floor", [[curve.y[0]]])], name)
