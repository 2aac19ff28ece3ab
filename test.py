"""Test a method (depth maps, scores, a gallery): ``python test.py --name phantom``; ``--help`` lists the options."""

import sys
from argparse import Namespace
from typing import Any

from evaluation.predictor import trained_predictor
from evaluation.scores import references_for
from evaluation.sources import open_source
from evaluation.tester import Tester
from options.test_options import TestOptions
from util.allocator import keep_freed_memory
from util.errors import run_cli
from util.exported_weights import SUFFIX
from util.lightning_checkpoint import LIGHTNING_SUFFIX
from util.tables import format_table

OF_ANOTHER_KIND = {SUFFIX: "exported", LIGHTNING_SUFFIX: "lightning"}  # files that belong to no epoch of a run


def main() -> None:
    opt = TestOptions().parse()
    keep_freed_memory()
    source = open_source(opt)
    predictor, facts = trained_predictor(opt)
    folder = opt.results_dir / opt.name / f"{source.what}_{which_weights(opt)}"
    references = references_for(predictor.metric, facts.get("references"))
    metrics = Tester(opt, source, predictor, references).run(folder)
    sys.stdout.write(f"\n{summary(metrics)}\n\ndepth maps  {folder}/depth/\ngallery     {folder}/index.html\n")


def which_weights(opt: Namespace) -> str:
    """What is tested, for the name of the result folder."""
    file = opt.checkpoint_file
    by_file = opt.checkpoint == file  # not by its run and epoch
    epoch = OF_ANOTHER_KIND.get(file.suffix, file.stem if by_file else opt.which_epoch)
    return f"{epoch}_ema" if opt.use_ema else epoch


def summary(metrics: dict[str, Any]) -> str:
    """Scores as tables for the terminal."""
    parts = [f"{metrics['frames']} frames, {metrics['scored']} with a truth to score"]
    if metrics["unscored"]:
        parts.append(f"Not scored, since their truth has no pixel that counts: {shortened(metrics['unscored'])}")
    if metrics["poses"] and metrics["poses"]["unscored"]:
        parts += [f"No camera path of {clip}: {why}" for clip, why in metrics["poses"]["unscored"].items()]
    parts += [f"{title}\n{format_table(rows)}" for title, rows in metrics["tables"].items()]
    if metrics["temporal"]:
        parts.append(f"Consistency over time\n{format_table(metrics['temporal'])}")
    if metrics["simcol3d"]:
        parts.append(f"SimCol3D protocol\n{format_table({'ours': metrics['simcol3d']})}")
    return "\n\n".join(parts)


def shortened(names: list[str], count: int = 10) -> str:
    """The first names of a list, and how many more there are."""
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more (metrics.json has all)" if more > 0 else "")


if __name__ == "__main__":
    run_cli(main)
