"""The learning rate over the epochs."""


def rate_factor(epoch: int, niter: int, niter_decay: int) -> float:
    """Share of the base learning rate in ``epoch`` (from 1): 1 for ``niter`` epochs, then linearly towards 0.

    The first epoch of the decay still has the full rate, the one after the last would have 0.
    """
    return 1.0 - max(0, epoch - 1 - niter) / niter_decay if niter_decay else 1.0
