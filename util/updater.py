"""One optimiser as the engine uses it: scaled backward pass, clipping, leaving out what is not finite, step, rate."""

from typing import Any

import torch
from torch import Tensor, nn


class Updater:
    """
    Args:
        optimizer: with the base learning rates.
        scaler: of its losses; one that is not enabled does nothing.
        clip_norm: largest norm of the gradients, 0 for any.
        skip_nonfinite: whether a step is left out when its gradients are not finite.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, clip_norm: float, skip_nonfinite: bool
    ) -> None:
        self.optimizer, self.scaler = optimizer, scaler
        self.clip_norm, self.skip_nonfinite = clip_norm, skip_nonfinite
        self._given = [{name: group[name] for name in group if name != "params"} for group in optimizer.param_groups]

    @property
    def weights(self) -> list[nn.Parameter]:
        """Those that learn at present."""
        groups = self.optimizer.param_groups
        return [weight for group in groups for weight in group["params"] if weight.requires_grad]

    def backward(self, loss: Tensor, *, first: bool) -> None:
        """Add the gradients of a loss to those of before, or begin anew. Only these weights get gradients."""
        if first:
            self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss), inputs=self.weights)

    def step(self) -> bool:
        """Clip the gradients and make the step; nothing waits for the device, unless steps may be left out.

        Returns:
            False when the step was left out, whatever the loss scale.
        """
        if self.clip_norm or self.skip_nonfinite:
            self.scaler.unscale_(self.optimizer)
            norm = torch.nn.utils.get_total_norm([w.grad for w in self.weights if w.grad is not None])
            if self.skip_nonfinite and not self.scaler.is_enabled() and not norm.isfinite():
                return False
            if self.clip_norm:
                torch.nn.utils.clip_grads_with_norm_(self.weights, self.clip_norm, norm)
        self.scaler.step(self.optimizer)  # with fp16 it leaves out by itself what is not finite, and lowers its scale
        before = self.scaler.get_scale() if self.skip_nonfinite else 0.0
        self.scaler.update()
        # Lowering the scale is fp16's way to find one that fits; below 1 it was not the scale.
        return not (self.skip_nonfinite and self.scaler.get_scale() < min(before, 1.0))

    def set_rate(self, factor: float) -> None:
        """Learning rate = the base rate times ``factor``."""
        for group, given in zip(self.optimizer.param_groups, self._given, strict=True):
            group["lr"] = given["lr"] * factor

    @property
    def rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The opposite of ``state_dict``: moments and scale go on; rates, betas and the like are those given here.

        A run may go on in another precision, with or without a scale.
        """
        self.optimizer.load_state_dict(state["optimizer"])
        for group, given in zip(self.optimizer.param_groups, self._given, strict=True):
            group.update(given)
        if state["scaler"] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
