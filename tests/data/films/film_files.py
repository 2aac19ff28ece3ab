"""Films for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np


def encode_film(
    path: Path, frames: Sequence[np.ndarray], *, codec: str = "libx264", fps: int = 25, gop: int = 12, **options: Any
) -> Path:
    """Write RGB frames, uint8 (H, W, 3), as a film with a frame that is stored whole every ``gop``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = gop
        stream.height, stream.width = frames[0].shape[:2]
        stream.options = {name: str(value) for name, value in options.items()}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())
    return path
