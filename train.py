"""Train a method: ``python train.py --preset phantom``; ``--help`` lists the options."""

import shlex
import sys
import time
from argparse import Namespace
from pathlib import Path

import yaml

from data import create_streams
from data.pairs_dataset import PairsDataset
from data.phantom.prepare import render_if_missing
from data.streams import StreamMixer
from data.transforms import Preprocessing
from evaluation.predictor import Predictor
from evaluation.report import make_report, report_text, write_report
from evaluation.scores import References, find_split, score_pairs
from models import create_model
from options.base_options import to_plain
from options.train_options import TrainOptions
from util.engine import Engine, rate_factor, seed_everything
from util.errors import run_cli
from util.interrupt import StopRequest
from util.monitor import TrainingMonitor
from util.run_state import RunState, check_run_folder, load_pretrained, open_run_folder
from util.updates import Progress


def main() -> None:
    opt, began = TrainOptions().parse(), time.monotonic()
    seed_everything(opt.seed)
    folder = opt.checkpoints_dir / opt.name
    check_run_folder(folder, continue_train=opt.continue_train, overwrite=opt.overwrite)
    render_if_missing(opt)
    eval_pairs, _ = find_split(opt, "eval"), find_split(opt, "test")  # what is wrong there is an error before training
    streams = create_streams(opt)
    method = create_model(opt)
    engine = Engine(method, opt.gpu_ids)
    run = RunState(folder, to_plain(opt), engine, streams)
    start(opt, run, streams)
    open_run_folder(folder, to_plain(opt), continue_train=opt.continue_train, overwrite=opt.overwrite)
    predictor = Predictor(method, Preprocessing.from_options(opt), engine.device)
    train(opt, run, streams, predictor, eval_pairs)
    if opt.report:
        report(opt, run, predictor, time.monotonic() - began)


def start(opt: Namespace, run: RunState, streams: StreamMixer) -> None:
    """Go on from a checkpoint, or begin, with fresh weights or those of another run."""
    if opt.continue_train:
        run.resume(opt.which_epoch)
        return
    if isinstance(streams.first.dataset, PairsDataset):
        run.facts["references"] = vars(References.fit(streams.first.dataset))
    if opt.load_pretrain:
        load_pretrained(run.engine.method, opt.load_pretrain)


def train(
    opt: Namespace, run: RunState, streams: StreamMixer, predictor: Predictor, eval_pairs: PairsDataset | None
) -> None:
    """Epochs over the first stream; in each iteration the method's updates, then logs, pictures and checkpoints."""
    engine, method = run.engine, run.engine.method
    last_epoch = opt.niter + opt.niter_decay
    total = min(last_epoch * len(streams), opt.max_steps or sys.maxsize)
    with make_monitor(opt, run, total) as monitor, StopRequest() as stop:
        while run.iteration < total:
            epoch = streams.epoch
            engine.set_rate(rate_factor(epoch, opt.niter, opt.niter_decay))
            method.begin_epoch(epoch)
            while streams.epoch == epoch and run.iteration < total and not stop.requested:
                progress = Progress(epoch, run.iteration + 1, streams.passes)
                with monitor.loading():
                    batch = streams.next(method.active_streams(epoch))
                engine.step(batch, progress)
                run.iteration += 1
                monitor.after_step(progress, engine, batch)
                if run.iteration % opt.save_latest_freq == 0:
                    run.save("latest")
            whole, last = streams.epoch > epoch, run.iteration == total
            if last or (whole and epoch % opt.eval_epoch_freq == 0):
                evaluate(run, epoch, monitor, predictor, eval_pairs)
            if whole and epoch % opt.save_epoch_freq == 0:
                run.save(str(epoch))
            if last or stop.requested:
                run.save("latest")
            if stop.requested:
                raise KeyboardInterrupt(f"saved at iteration {run.iteration}; go on with --continue_train")


def evaluate(
    run: RunState, epoch: int, monitor: TrainingMonitor, predictor: Predictor, eval_pairs: PairsDataset | None
) -> None:
    """Scores on the eval split, if there is one; the checkpoint ``best`` has the lowest abs_rel so far."""
    if eval_pairs is None:
        return
    run.engine.check()
    scores = score_pairs(predictor, eval_pairs, None, f"eval, epoch {epoch}").means()["ours"]["none"]
    monitor.scores("eval", scores, run.iteration)
    if run.improves("abs_rel", scores["abs_rel"]):
        run.save("best")


def make_monitor(opt: Namespace, run: RunState, total: int) -> TrainingMonitor:
    """The monitor of this run."""
    return TrainingMonitor(
        run.folder,
        name=opt.name,
        options_text=yaml.safe_dump(run.options),
        total=total,
        done=run.iteration,
        batch_size=opt.batch_size,
        print_freq=opt.print_freq,
        display_freq=opt.display_freq,
        html=opt.html,
    )


def report(opt: Namespace, run: RunState, predictor: Predictor, seconds: float) -> None:
    """Score the test split and the real-domain clips, print the tables and write ``report.json``."""
    facts = {"seconds": seconds, "command": shlex.join(sys.argv), "iterations": run.iteration}
    fitted = run.facts.get("references")
    scores = make_report(predictor, opt, References(**fitted) if fitted else None, facts)
    path = write_report(run.folder, scores)
    elsewhere = "" if opt.checkpoints_dir == Path("checkpoints") else f" --checkpoints_dir {opt.checkpoints_dir}"
    places = {
        "report": str(path),
        "checkpoints": f"{run.folder}/latest.pth (to go on), latest_net_G.pth (bare weights)",
        "pictures": f"{run.folder}/web/index.html" if opt.html else "",
        "tensorboard": f"tensorboard --logdir {opt.checkpoints_dir}",
        "depth maps": f"bash scripts/test.sh --name {opt.name}{elsewhere}",
    }
    listed = "".join(f"{what:<13}{where}\n" for what, where in places.items() if where)
    sys.stdout.write(f"\n{report_text(scores)}\n\n{listed}")


if __name__ == "__main__":
    run_cli(main)
