"""``python -m data.check DIR``: everything that is wrong with a data set, before it costs a training."""

from data.check.command import main
from data.check.quick import check_quickly

__all__ = ["check_quickly", "main"]
