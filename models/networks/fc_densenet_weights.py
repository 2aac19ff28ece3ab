"""Published names of FC-DenseNet's weights (Liu et al., IEEE TMI 2020) in ours. No weights are published, but the code
that trains them is, so that there are files of users.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from util.weight_files import rename_prefixes

LEVELS = range(5)  # of the published network

# How published keys begin, and ours; what follows is the same. Levels going down are counted from the finest, going up
# from the coarsest, there and here.
PREFIXES = {
    "firstconv.": "first.",
    **{f"denseBlocksDown.{level}.": f"down.{level}." for level in LEVELS},
    **{f"transDownBlocks.{level}.": f"shrink.{level}.0." for level in LEVELS},
    "bottleneck.bottleneck.": "bottleneck.",
    **{f"transUpBlocks.{level}.convTrans.1.": f"grow.{level}.1." for level in LEVELS},
    **{f"denseBlocksUp.{level}.": f"up.{level}." for level in LEVELS},
    "finalConv.": "last.",
}


def ours_from_published(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Published weights in our names.

    Keys that are none of the published ones stay: what is ours already is kept as it is, and what is not known is
    refused when it is loaded.

    Args:
        content: tensors by name, or a whole published checkpoint: ``model`` has them, beside ``optimizer``, ``epoch``,
            ``step`` and ``validation``. The prefix ``module.``, left by ``DataParallel``, is dropped.
    """
    weights = content.get("model")
    state = weights if isinstance(weights, Mapping) else content
    state = {key.removeprefix("module."): value for key, value in state.items()}
    return rename_prefixes(state, PREFIXES)
