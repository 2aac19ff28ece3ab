"""Compare the reports of ``scripts/ablation.sh``: temporal scores and depth errors on ``video_test``, with and without.

Prints a row a seed and the mean change, and writes it to ``<checkpoints_dir>/ablation.json``.
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from util.errors import run_cli  # noqa: E402 - the project's root has to be on the path first
from util.files import write_text  # noqa: E402
from util.tables import format_table  # noqa: E402

METRICS = ("temporal_grad", "temporal_grad_rel", "temporal_rel", "abs_rel", "rmse")
BRANCHES = ("without", "with")


def main() -> None:
    checkpoints, seeds = Path(sys.argv[1]), sys.argv[2:]
    scores = {branch: [read_video(checkpoints / f"ablation_{branch}_s{seed}") for seed in seeds] for branch in BRANCHES}
    rows = {
        f"seed {seed}, {branch}": scores[branch][number] for number, seed in enumerate(seeds) for branch in BRANCHES
    }
    print(f"\nvideo_test, {' and '.join(BRANCHES)} the warping loss\n{format_table(rows, METRICS)}\n")
    changes = {metric: change(scores, metric) for metric in METRICS}
    print("change of the mean over the seeds (negative: better)")
    for metric, values in changes.items():
        by_seed = ", ".join(f"{value:+.1%}" for value in values["seeds"])
        print(f"  {metric:<18} {values['mean']:+7.1%}   by seed: {by_seed}")
    write_text(checkpoints / "ablation.json", json.dumps({"scores": scores, "changes": changes}, indent=1) + "\n")


def read_video(run: Path) -> dict[str, float]:
    """The scores of a run on the clips of ``video_test``."""
    return json.loads((run / "report.json").read_text(encoding="utf-8"))["video"]


def change(scores: dict[str, list[dict[str, float]]], metric: str) -> dict[str, object]:
    """Relative change of a metric through the loss: of the means, and seed by seed."""
    before, after = (np.array([score[metric] for score in scores[branch]]) for branch in BRANCHES)
    return {"mean": float(after.mean() / before.mean() - 1), "seeds": (after / before - 1).tolist()}


if __name__ == "__main__":
    run_cli(main)
