"""Compare the reports of runs on the phantom, median-scaled: ``sc_depth_table.py checkpoints PRIOR RUN [RUN ...]``.

The first row after the references is the network whose predictions were the pseudo-depth. Prints Markdown.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from util.errors import UserError, run_cli  # noqa: E402 - the project's root has to be on the path first
from util.tables import markdown_table  # noqa: E402

REFERENCES = {"constant": "constant depth", "brightness": "brightness prior"}
SCORES = ("abs_rel", "rmse", "delta1")
SCALE, PATH = ("scale_spread_clip", "scale_spread"), ("ate_mm", "rpe_step", "rpe_deg")


def main() -> None:
    checkpoints, prior, runs = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    reports = {name: read_report(checkpoints / name) for name in (prior, *runs)}
    first = reports[runs[0]]
    test = {title: first["test_median"][key] for key, title in REFERENCES.items()}
    test |= {name: report["test_median"]["ours"] for name, report in reports.items()}
    print(f"\nTest colons, median-scaled\n\n{markdown_table(test, SCORES)}")
    video = {title: first["video_depth"][key] for key, title in REFERENCES.items()}
    video |= {name: reports[name]["video_depth"]["ours"] for name in runs}
    print(f"\nReal-domain clips (video_test), median-scaled\n\n{markdown_table(video, SCORES)}")
    ours = {name: reports[name]["video_scale"]["ours"] | reports[name]["video_path"]["ours"] for name in runs}
    title = "Spread of the frames' scales (within a clip, over all clips), and the camera's path"
    print(f"\n{title}\n\n{markdown_table(ours, (*SCALE, *PATH))}")


def read_report(run: Path) -> dict[str, Any]:
    """What a training has written at its end."""
    path = run / "report.json"
    if not path.is_file():
        raise UserError(f"there is no {path}; the training of that run has not ended")
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run_cli(main)
