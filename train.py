"""Train a method: ``python train.py --preset phantom``; ``--help`` lists the options."""

import sys
import time
from argparse import Namespace

import yaml

from data import create_streams
from data.pairs_dataset import PairsDataset
from data.phantom.prepare import render_if_missing
from data.streams import StreamMixer
from data.transforms import Preprocessing
from evaluation.predictor import Predictor
from evaluation.report import make_report, report_text, write_report
from evaluation.scores import References, score_pairs
from models import create_model
from options.base_options import to_plain
from options.train_options import TrainOptions
from util.engine import Engine, rate_factor, seed_everything
from util.errors import run_cli
from util.interrupt import StopRequest
from util.monitor import TrainingMonitor
from util.run_state import RunState, load_pretrained, open_run_folder
from util.updates import Progress


def main() -> None:
    opt, began = TrainOptions().parse(), time.monotonic()
    seed_everything(opt.seed)
    folder = opt.checkpoints_dir / opt.name
    open_run_folder(folder, to_plain(opt), continue_train=opt.continue_train, overwrite=opt.overwrite)
    render_if_missing(opt)
    streams = create_streams(opt)
    method = create_model(opt)
    engine = Engine(method, opt.gpu_ids)
    run = RunState(folder, to_plain(opt), engine, streams)
    if opt.continue_train:
        run.resume(opt.which_epoch)
    else:
        run.facts["references"] = vars(References.fit(streams.first.dataset))
        if opt.load_pretrain:
            load_pretrained(method, opt.load_pretrain)
    predictor = Predictor(method, Preprocessing.from_options(opt), engine.device)
    train(opt, run, streams, predictor)
    if opt.report:
        report(opt, run, predictor, time.monotonic() - began)


def train(opt: Namespace, run: RunState, streams: StreamMixer, predictor: Predictor) -> None:
    """Epochs over the first stream; in each iteration the method's updates, then logs, pictures and checkpoints."""
    engine, method = run.engine, run.engine.method
    last_epoch = opt.niter + opt.niter_decay
    total = min(last_epoch * len(streams), opt.max_steps or sys.maxsize)
    with make_monitor(opt, run, total) as monitor, StopRequest() as stop:
        while run.iteration < total:
            epoch = streams.epoch
            engine.set_rate(rate_factor(epoch, opt.niter, opt.niter_decay))
            method.begin_epoch(epoch)
            while streams.epoch == epoch and run.iteration < total:
                progress = Progress(epoch, run.iteration + 1, streams.passes)
                with monitor.loading():
                    batch = streams.next(method.active_streams(epoch))
                engine.step(batch, progress)
                run.iteration += 1
                monitor.after_step(progress, engine, batch)
                if stop.requested or run.iteration % opt.save_latest_freq == 0:
                    run.save("latest")
                if stop.requested:
                    raise KeyboardInterrupt(f"saved at iteration {run.iteration}; go on with --continue_train")
            end_epoch(opt, run, epoch, monitor, predictor, last=run.iteration == total)


def end_epoch(
    opt: Namespace, run: RunState, epoch: int, monitor: TrainingMonitor, predictor: Predictor, *, last: bool
) -> None:
    """Scores on the eval split, and the checkpoints that are due: ``latest``, every N epochs, ``best`` by abs_rel."""
    due = ["latest"] if last else []
    if epoch % opt.save_epoch_freq == 0:
        due.append(str(epoch))
    if (last or epoch % opt.eval_epoch_freq == 0) and (opt.dataroot / "eval_A").is_dir():
        board = score_pairs(predictor, PairsDataset.from_options(opt, "eval"), None, f"eval, epoch {epoch}")
        scores = board.means()["ours"]["none"]
        monitor.scores("eval", scores, run.iteration)
        if run.improves("abs_rel", scores["abs_rel"]):
            due.append("best")
    if due:
        run.save(*due)


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
    facts = {"seconds": seconds, "command": " ".join(sys.argv), "iterations": run.iteration}
    scores = make_report(predictor, opt, References(**run.facts["references"]), facts)
    path = write_report(run.folder, scores)
    sys.stdout.write(
        f"\n{report_text(scores)}\n\n"
        f"report       {path}\n"
        f"checkpoints  {run.folder}/latest.pth (to go on), latest_net_G.pth (bare weights)\n"
        f"pictures     {run.folder}/web/index.html\n"
        f"tensorboard  tensorboard --logdir {opt.checkpoints_dir}\n"
        f"depth maps   bash scripts/test.sh --name {opt.name}\n"
    )


if __name__ == "__main__":
    run_cli(main)
