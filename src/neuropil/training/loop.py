"""The training loop; the functions stand in the order in which they are called."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning_fabric import Fabric

from neuropil.config import Config, check_trainable, starting_from
from neuropil.dataset import VolumeDataset
from neuropil.errors import NeuropilError
from neuropil.models import build_network
from neuropil.models.convolution import convolves_with_ours
from neuropil.training.batches import (
    Batch,
    Numbers,
    complete,
    in_plain_words,
    open_dataset,
    prepare,
)
from neuropil.training.device_batches import PlacedBatch, drawn_batches, prepare_together
from neuropil.training.monitor import Monitor, forecast
from neuropil.training.objective import Losses, compute_losses
from neuropil.training.optimizers import measure_norms, update_average
from neuropil.training.ranks import across, agree, end_group_at_exit, share_norms, start_fabric
from neuropil.training.run import (
    PLAIN,
    Layout,
    Run,
    Step,
    expect_results,
    plain,
    restore,
    stamps_of,
    start_from,
    start_run,
    write_config,
)
from neuropil.training.schedule import is_warm, learning_rate
from neuropil.training.stopping import NanCheck, StopRequest
from neuropil.training.teacher import with_teacher
from neuropil.training.validation import Validation
from neuropil.training.workers import settle_workers, with_workers
from neuropil.volumes.locks import working_in


def train(
    config: Config,
    out: Path | str,
    resume: Path | str | None = None,
    pretrained: Path | str | None = None,
    layout: Layout = PLAIN,
    teacher: Path | str | None = None,
) -> Path:
    """Train a network as the config says.

    Args:
        config: the recipe.
        out: folder for ``checkpoints/last.pt``, ``checkpoints/best.pt``, ``config.yaml`` and ``tensorboard/``.
        resume: a checkpoint to continue exactly: weights, average, optimizer, iteration, clock and sample stream.
        pretrained: a checkpoint, or the name of a model of the package, to take only the weights from, instead of
            ``training.pretrained`` of the config.
        teacher: checkpoint or name of a model whose affinities are learned in addition to the labels, or instead of
            them in volumes without labels; computed once, into ``out/teacher``.
        layout: names of numbered checkpoints and of the TensorBoard folder, for other programs that expect their own.

    Returns:
        Path of the last checkpoint. ``best.pt`` next to it has the lowest loss on ``data.validation``; without
        validation volumes it is the last one. Ctrl-C, SIGTERM and SIGHUP finish the step and save before the run ends.

    Raises:
        NeuropilError: volumes that do not fit the config, an output folder that cannot be written, or a loss or
            gradient that is NaN or infinite. Earlier checkpoints stay complete.

    >>> train(Config(), "nowhere")
    Traceback (most recent call last):
    ...
    neuropil.errors.NeuropilError: data.train: expected at least one volume with image and labels, got none
    """
    if resume and pretrained:
        raise NeuropilError("--resume continues a run and --pretrained starts a new one; give only one of them")
    config = starting_from(config, pretrained)
    check_trainable(config, has_teacher=teacher is not None)
    with working_in(Path(out)):
        expect_results(Path(out))
        return _train(config, Path(out), resume, layout, teacher)


def _train(
    config: Config,
    out: Path,
    resume: Path | str | None,
    layout: Layout,
    teacher: Path | str | None,
) -> Path:
    settings, asked = config.training, config
    # Sample n depends on the seed and n only, so that resuming needs no more than the iteration.
    network = build_network(config.model)
    fabric = start_fabric(settings, convolves_with_ours(network))
    if teacher:
        if settings.pretrained and not resume:  # weights that do not fit are told before minutes of prediction
            start_from(network, config, settings.pretrained, loud=False)
        config = with_teacher(teacher, config, out, fabric)
    dataset = open_dataset(config.data.train, config, settings.seed, config.augment)
    tell_idle_edges(config, dataset, fabric.global_rank == 0)
    workers = settle_workers(config, fabric, dataset.in_memory, resume)
    config = with_workers(config, workers)
    run = start_run(config, fabric, dataset.voxel_size, out, layout, resuming=resume is not None)
    run = replace(run, grey_values=dataset.grey_values, stamps=stamps_of(config))
    step = restore(run, Path(resume)) if resume else Step()
    sharing = settings.devices if settings.strategy == "dp" else 1
    first = step.iteration * config.optimizer.accumulate
    numbers = Numbers(first, settings.batch * sharing, fabric.global_rank, fabric.world_size)
    samples = drawn_batches(dataset, numbers, config, fabric.device)
    validation = Validation(config, fabric)
    if fabric.global_rank == 0:
        write_config(with_workers(asked, workers), out)

    with (
        in_plain_words(),
        closing(prepared(run, samples)) as stream,
        StopRequest() as request,
        Monitor(out / layout.tensorboard, config, step.iteration, fabric.global_rank) as monitor,
    ):
        step = go_on(run, step, stream, validation, request, monitor)
        if config.optimizer.swa:
            images = (next(stream).image_BCZYX for _ in range(20))
            measure_norms(run.average, images)
        step = validate(run, step, validation, monitor)
        monitor.ended(is_warm(config.optimizer, step.iteration, share_done(config, step)))
        run.save("last.pt", step)
        run.keep(step, settings.keep_last)
    end_group_at_exit()
    return out / "checkpoints" / "last.pt"


def tell_idle_edges(config: Config, dataset: VolumeDataset, loud: bool) -> None:
    """Print (if ``loud``) which offsets cannot be learned: longer than the patch, or without pairs of labelled voxels.

    Raises:
        NeuropilError: no offset can be learned.
    """
    patch, offsets = config.training.patch, config.model.offsets
    long = [o for o in offsets if any(abs(n) >= p for n, p in zip(o, patch, strict=True))]
    if len(long) == len(offsets):
        raise NeuropilError(f"training.patch {patch} is too small for all model.offsets, {long}; make it larger")
    bare = [o for o in offsets if o not in long and not dataset.possible(o)]
    if len(long) + len(bare) == len(offsets):
        raise NeuropilError(
            f"the labels have no pair of voxels at any of model.offsets {bare}; label neighbours, or correct data.train"
        )
    if long and loud:
        print(f"note: never learned, since longer than training.patch {patch}: model.offsets {long}", flush=True)
    if bare and loud:
        print(f"note: never learned, since no pair of labelled voxels lies so: model.offsets {bare}", flush=True)


UNTIMED, TIMED = 2, 8
"""Steps at the start that are not timed, since they are slower, and the number of timed steps after them."""


def go_on(
    run: Run,
    step: Step,
    stream: Iterator[Batch],
    validation: Validation,
    request: StopRequest,
    monitor: Monitor,
) -> Step:
    """Train from ``step`` to the end of the run, with validation and checkpoints; returns the last step."""
    config, settings = run.config, run.config.training
    started, check = time.monotonic() - step.seconds, NanCheck(run.folder, run.fabric.device)
    first, warm = step.iteration, step.seconds
    while (done := share_done(config, step)) < 1:
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(config.optimizer, step.iteration, done, step.drop)
        learned = learn(run, step, stream, monitor, check)
        update_average(run.average, plain(run.network), config, done)
        seconds, stop = agree(run.fabric, time.monotonic() - started, request.signal is not None)
        step = replace(step, iteration=step.iteration + 1, seconds=seconds)
        judged = step.iteration % (settings.validate_every or settings.checkpoint_every) == 0
        saved = step.iteration % settings.checkpoint_every == 0 or stop
        if judged or saved or step.iteration % settings.log_every == 0 or share_done(config, step) >= 1:
            check.raise_if_bad(learned.batch, step.iteration)
        report(learned, run, step, monitor)
        if step.iteration == first + UNTIMED:
            warm = step.seconds
        if step.iteration == first + UNTIMED + TIMED and settings.minutes and run.fabric.global_rank == 0:
            print(forecast(config, run.voxel_size, step.iteration, step.seconds, (step.seconds - warm) / TIMED))
        if judged:
            step = validate(run, step, validation, monitor)
        if saved:
            run.save("last.pt", step)
            run.keep(step, settings.keep_last)
        if stop:
            print(f"\nstopped at iteration {step.iteration}; go on with --resume {run.folder}/checkpoints/last.pt")
            end_group_at_exit()
            request.obey()
    return step


class Learned(NamedTuple):
    """Batch, output, loss and gradient of one step."""

    batch: Batch
    logits: torch.Tensor
    found: Losses
    gradient: torch.Tensor
    """Norm of the gradient before it is clipped."""


def prepared(run: Run, samples: Iterator[Any], ahead: bool | None = None) -> Generator[Batch]:
    """Augmented batches with targets, on the device; on a GPU the next one is made during the step.

    Args:
        run: has the recipe and the device.
        samples: from :func:`drawn_batches`.
        ahead: whether to make the next batch in advance. None: on a GPU only. On a CPU both would compete for the same
            cores: 0.17 s a step instead of 0.14 s on two cores.
    """
    device, streams = run.fabric.device, torch.get_device_module(run.fabric.device)
    if not (device.type != "cpu" if ahead is None else ahead):
        while True:
            yield ready(next(samples), run.config, run.fabric)
    side = streams.Stream()
    side.wait_stream(streams.current_stream())  # volumes may still be on their way to the GPU

    def make() -> Batch:
        with streams.stream(side):
            return ready(next(samples), run.config, run.fabric)

    with ThreadPoolExecutor(1, "prepare") as pool:
        coming = pool.submit(make)
        while True:
            batch = coming.result()
            streams.current_stream().wait_stream(side)
            coming = pool.submit(make)
            lend(batch, streams.current_stream())
            yield batch


def ready(drawn: Any, config: Config, fabric: Fabric) -> Batch:
    """Make a batch on the device from what :func:`drawn_batches` yields."""
    if isinstance(drawn, PlacedBatch):
        return prepare_together(drawn, config, config.training.seed, config.augment)
    drawn = drawn if fabric.device.type == "cpu" else fabric.to_device(drawn)
    if config.training.workers:
        return complete(drawn, config, config.augment)
    return prepare(drawn, config, config.training.seed, config.augment)


def lend(batch: Batch, stream: Any) -> None:
    """Keep the memory of a batch, which another CUDA stream made, until ``stream`` has used it."""
    made = [part for one in batch.auxiliary for part in (one.target_BCZYX, one.validity_BCZYX)]
    for part in (*batch, *made):
        if isinstance(part, torch.Tensor) and part.is_cuda:
            part.record_stream(stream)


def learn(run: Run, step: Step, stream: Iterator[Batch], monitor: Monitor, check: NanCheck) -> Learned:
    """One optimizer step; its gradient is averaged over ``optimizer.accumulate`` batches."""
    settings, fabric = run.config.optimizer, run.fabric
    for part in range(1, settings.accumulate + 1):
        with monitor.waiting():
            batch = next(stream)
        monitor.count(batch.image_BCZYX.numel() * fabric.world_size)
        whole = part == settings.accumulate
        with nullcontext() if whole else fabric.no_backward_sync(run.network):
            logits = run.network(batch.image_BCZYX.to(memory_format=torch.channels_last_3d))
            found = compute_losses(logits, batch, run.config, across)
            check.see("loss", found.loss, batch, step.iteration + 1)
            # Each rank has a part of the gradient of the common loss. Parts must be summed, but DDP averages ranks.
            fabric.backward(found.loss * (fabric.world_size / settings.accumulate))
    limit = settings.clip or math.inf
    gradient = fabric.clip_gradients(run.network, run.optimizer, max_norm=limit, error_if_nonfinite=False)
    gradient = torch.zeros(()) if gradient is None else gradient
    if run.config.training.precision != "fp16":  # its gradient scaler skips steps that overflow
        check.see("gradient", gradient, batch, step.iteration + 1)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    share_norms(plain(run.network))
    return Learned(batch, logits.detach(), found, gradient)


LONGEST_SILENCE = 10.0
"""Seconds after which progress is printed even before ``log_every`` steps are over."""


def report(learned: Learned, run: Run, step: Step, monitor: Monitor) -> None:
    """Log progress, scalars and images when they are due; reading values waits for the GPU, so not at every step."""
    settings = run.config.training
    if step.iteration % settings.log_every == 0 or monitor.silent() > LONGEST_SILENCE:
        done = share_done(run.config, step)
        left = step.seconds * (1 / max(done, 1e-9) - 1)
        rate = run.optimizer.param_groups[0]["lr"]
        monitor.scalars(step.iteration, learned.found, rate, learned.gradient.item(), done, left)
    if step.iteration % settings.image_every == 0:
        monitor.pictures(step.iteration, learned.batch, learned.logits)


def share_done(config: Config, step: Step) -> float:
    """Share of the run that is done, by iterations or by the clock, whichever is more."""
    by_count = step.iteration / config.training.iterations if config.training.iterations else 0.0
    by_clock = step.seconds / 60 / config.training.minutes if config.training.minutes else 0.0
    return max(by_count, by_clock)


def validate(run: Run, step: Step, validation: Validation, monitor: Monitor) -> Step:
    """Compute the validation loss of the averaged weights; save ``best.pt`` if it is the lowest so far."""
    judged = validation.judge(run) if run.fabric.global_rank == 0 else (None, {})
    loss, scores = run.fabric.broadcast(judged)
    if loss is None:
        run.save("best.pt", step)
        return step
    monitor.validation(step.iteration, loss, scores, step.best)
    settings = run.config.optimizer
    if loss <= step.best:
        step = replace(step, best=loss, stale=0)
        run.save("best.pt", step)
        return step
    if settings.schedule == "plateau" and step.stale + 1 >= settings.patience:
        return replace(step, stale=0, drop=step.drop * settings.decay)
    return replace(step, stale=step.stale + 1)
