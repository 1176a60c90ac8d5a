"""Dropout that is fast on a CPU."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


class DropSome(torch.autograd.Function):
    """Set each element to 0 with probability p, and multiply the others by 1 / (1 - p).

    The gaps between dropped elements are drawn, which follow a geometric distribution: a random number for each
    element that is dropped instead of one for every element. On a CPU, at p = 0.1, this takes a third of the time of
    torch's own dropout, whose random numbers alone were 15 % of the training time of a Particle Transformer.
    """

    @staticmethod
    def forward(context: Any, x: torch.Tensor, p: float) -> torch.Tensor:
        """Return the remaining elements."""
        mean = p * x.numel()
        # six standard deviations more than are expected to be dropped
        draws = int(mean + 6 * math.sqrt(mean) + 6)
        # 1 - u is in (0, 1], so that its logarithm is finite
        gaps = torch.rand(draws, device=x.device).neg_().log1p_().div_(math.log1p(-p)).long() + 1
        dropped = torch.cumsum(gaps, 0) - 1
        dropped = dropped[: int(torch.searchsorted(dropped, x.numel()))]
        context.save_for_backward(dropped)
        context.factor = 1 / (1 - p)
        result = torch.mul(x, context.factor).contiguous()
        result.view(-1).index_fill_(0, dropped, 0.0)
        return result

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the gradient, zero where elements were dropped."""
        (dropped,) = context.saved_tensors
        result = torch.mul(gradient, context.factor).contiguous()
        result.view(-1).index_fill_(0, dropped, 0.0)
        return result, None


class Dropout(nn.Module):
    """Dropout by `DropSome`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Drop elements when training."""
        if not self.training or self.p == 0:
            return x
        result: torch.Tensor = DropSome.apply(x, self.p)
        return result
