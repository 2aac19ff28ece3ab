"""Train a method: ``python train.py --preset phantom``; ``--help`` lists the options."""

import os
import sys
import time
from argparse import Namespace
from contextlib import nullcontext

import yaml

from data import create_streams
from data.check import check_quickly
from data.formats import open_format
from data.pairs_dataset import PairsDataset
from data.phantom.prepare import render_if_missing
from data.prefetch import Prefetcher
from data.streams import StreamMixer
from data.transforms import Preprocessing
from evaluation.held_out import HeldOut, find_held_out, score_held_out
from evaluation.predictor import Predictor
from evaluation.report import report_run
from evaluation.scores import References, find_split
from models import create_model
from options.base_options import to_plain
from options.train_options import TrainOptions
from util.allocator import keep_freed_memory
from util.distributed import Processes, join_processes
from util.engine import Engine, EngineSettings
from util.errors import StoppedAfterSaving, run_cli
from util.interrupt import StopRequest, stopping_loses_nothing
from util.monitor import TrainingMonitor
from util.random_state import seed_everything
from util.run_lock import RunLock
from util.run_state import RunState, check_run_folder, load_pretrained, open_run_folder
from util.schedule import EpochEnds, Rates
from util.step_faults import StepFaults
from util.updates import Progress
from util.watchdog import Watchdog, loss_scale_symptom

ECHO_S = 2.0  # a launcher and its processes get a signal together, and the launcher passes it on to them once more


def main() -> None:
    opt, began = TrainOptions().parse(), time.monotonic()
    keep_freed_memory()
    with (
        join_processes(os.environ, opt.gpu_ids) as processes,
        RunLock(opt.checkpoints_dir / opt.name) if processes.main else nullcontext(),
    ):
        run_training(opt, processes, began)


def run_training(opt: Namespace, processes: Processes, began: float) -> None:
    """From options to the report."""
    with stopping_loses_nothing("the training has not begun; what is prepared is kept, the same command goes on"):
        run, streams, held_out = prepare(opt, processes)
    engine = run.engine
    predictor = Predictor(engine.method, Preprocessing.from_options(opt), engine.device, engine.precision)
    train(opt, run, streams, predictor, held_out)
    if opt.report and processes.main:
        facts = {"seconds": time.monotonic() - began, "iterations": run.iteration}
        with stopping_loses_nothing("the training is done and saved; --continue_train writes the report"):
            report_run(opt, predictor, run.facts.get("references"), facts)


def prepare(opt: Namespace, processes: Processes) -> tuple[RunState, StreamMixer, HeldOut | None]:
    """Networks, data and the run's folder, in the order in which mistakes cost the least time."""
    seed_everything(opt.seed)
    folder = opt.checkpoints_dir / opt.name
    check_run_folder(folder, continue_train=opt.continue_train, overwrite=opt.overwrite)
    method = create_model(opt)
    engine = Engine(method, EngineSettings.from_options(opt, processes), processes)
    with processes.main_first():
        render_if_missing(opt)
        if opt.check and processes.main:
            look_at_the_data(opt)
        held_out, _ = find_held_out(opt, method), find_split(opt, "test")  # mistakes there show before the training
        streams = create_streams(opt, processes.rank, processes.size)
    batches = Prefetcher(streams, method.active_streams, engine.to_device, device=engine.device)
    run = RunState(folder, to_plain(opt), engine, batches, writes=processes.main, keep_last=opt.keep_last)
    start(opt, run, streams)
    with processes.main_first():
        if processes.main:
            open_run_folder(folder, to_plain(opt), continue_train=opt.continue_train, overwrite=opt.overwrite)
    return run, streams, held_out


def look_at_the_data(opt: Namespace) -> None:
    """Mistakes in the pairs end here, before flow is computed and anything is learned from them."""
    if "synthetic" in opt.streams:
        source = open_format(opt)
        phases = dict.fromkeys([opt.phase, *(phase for phase in ("eval", "test") if phase in source.phases())])
        check_quickly(source, phases, skip_bad=opt.on_bad_sample == "skip")


def start(opt: Namespace, run: RunState, streams: StreamMixer) -> None:
    """Go on from a checkpoint, or begin, with fresh weights or those of another run."""
    if opt.continue_train:
        run.resume(opt.which_epoch)
        return
    if isinstance(streams.first.dataset, PairsDataset):
        run.facts["references"] = vars(References.fit(streams.first.dataset, skip_bad=opt.on_bad_sample == "skip"))
    if opt.load_pretrain:
        load_pretrained(run.engine.method, opt.load_pretrain)
    run.engine.begin()


def train(opt: Namespace, run: RunState, streams: StreamMixer, predictor: Predictor, held_out: HeldOut | None) -> None:
    """Epochs over the first stream; in each iteration the method's updates, then logs, pictures and checkpoints.

    ``latest`` is saved before what is due at the end of an epoch, so that nothing is lost if that fails or takes long;
    a run that goes on from such a place does it first.
    """
    engine, batches, processes = run.engine, run.streams, run.engine.processes
    total = min((opt.niter + opt.niter_decay) * len(batches), opt.max_steps or sys.maxsize)
    due, rates = EpochEnds(len(batches), total, opt), Rates.from_options(opt)
    faults = StepFaults(engine, run.folder, run.options, streams.files_of, memory=opt.print_freq)
    stop = StopRequest(echo_s=ECHO_S if processes.size > 1 else 0.0)
    with make_monitor(opt, run, total) as monitor, stop, faults.told():
        end_epoch(run, due, monitor, predictor, held_out)
        while run.iteration < total:
            epoch = batches.epoch
            engine.begin_epoch(epoch)
            while batches.epoch == epoch and run.iteration < total:
                progress, numbers = Progress(epoch, run.iteration + 1, batches.passes), batches.state_dict()
                with monitor.loading():
                    batch = batches.next()
                faults.remember(progress.iteration, {stream: numbers[stream] for stream in batch})
                engine.set_rate(rates.factor(epoch, run.iteration))
                engine.step(batch, progress)
                run.iteration += 1
                monitor.after_step(progress, engine, batch)
                monitor.skipped(streams.take_skipped())
                stopping = processes.any(stop.requested)
                if stopping or run.iteration % opt.save_latest_freq == 0 or due.evaluation(run.iteration):
                    run.save("latest")
                if stopping:
                    raise StoppedAfterSaving(f"saved at iteration {run.iteration}; go on with --continue_train")
            end_epoch(run, due, monitor, predictor, held_out)


def end_epoch(
    run: RunState, due: EpochEnds, monitor: TrainingMonitor, predictor: Predictor, held_out: HeldOut | None
) -> None:
    """What is due after this iteration; in the middle of an epoch that is nothing."""
    if held_out is not None and due.evaluation(run.iteration):
        evaluate(run, due.epoch(run.iteration), monitor, predictor, held_out)
    if due.checkpoint(run.iteration):
        run.save(str(due.epoch(run.iteration)))


def evaluate(run: RunState, epoch: int, monitor: TrainingMonitor, predictor: Predictor, held_out: HeldOut) -> None:
    """Scores on what is held out; the checkpoint ``best`` has the lowest so far."""
    run.engine.check()
    run.engine.share_statistics()
    batch_size = run.options["batch_size"]
    scores, ranked_by = score_held_out(held_out, predictor, run.engine, batch_size, f"eval, epoch {epoch}")
    monitor.scores("eval", scores, run.iteration)
    if run.improves(ranked_by, scores[ranked_by]):
        run.save("best")


def make_monitor(opt: Namespace, run: RunState, total: int) -> TrainingMonitor:
    """The monitor of this run; only that of the main process shows and writes something."""
    engine = run.engine
    scales = [loss_scale_symptom(name) for name in engine.updaters]
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
        num_workers=opt.num_workers,
        watchdog=Watchdog([*engine.method.symptoms(), *scales]),
        quiet=not engine.processes.main,
    )


if __name__ == "__main__":
    run_cli(main)
