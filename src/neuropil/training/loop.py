"""The training loop, to be read top to bottom."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch

from neuropil.config import Config, check_trainable
from neuropil.errors import NeuropilError
from neuropil.losses import balanced_bce
from neuropil.training.batches import Batch, Numbers, batches, open_dataset, prepare
from neuropil.training.monitor import Monitor
from neuropil.training.run import Run, Step, restore, start_fabric, start_run, write_config
from neuropil.training.schedule import rate
from neuropil.training.validation import Validation


def train(
    config: Config, out: Path | str, resume: Path | str | None = None, pretrained: Path | str | None = None
) -> Path:
    """Train a network as the config says.

    Args:
        config: what to train on, what and how.
        out: folder for ``checkpoints/last.pt``, ``checkpoints/best.pt``, ``config.yaml`` and ``tensorboard/``.
        resume: a checkpoint to continue exactly: weights, average, optimizer, iteration, clock and sample stream.
        pretrained: a checkpoint to take only the weights from.

    Returns:
        Path of the last checkpoint. ``best.pt`` beside it has the lowest loss on ``data.validation``; without
        validation volumes it is the last one.

    Raises:
        NeuropilError: volumes that do not fit the config, an output folder that cannot be written, a loss that is
            no longer a number.

    >>> train(Config(), "nowhere")
    Traceback (most recent call last):
    ...
    neuropil.errors.NeuropilError: data.train: expected at least one volume with image and labels, got none
    """
    if resume and pretrained:
        raise NeuropilError("--resume continues a run and --pretrained starts a new one; give only one of them")
    check_trainable(config)
    settings, out = config.training, Path(out)
    write_config(config, out)

    # What it learns from. Sample n is a function of the seed and n alone, so going on only takes the iteration.
    dataset = open_dataset(config.data.train, config, settings.seed, config.augment)
    fabric = start_fabric(settings)
    run = start_run(config, fabric, dataset.voxel_size, out, pretrained)
    step = restore(run, Path(resume)) if resume else Step()
    stream = batches(dataset, Numbers(step.iteration, settings.batch), settings.workers, fabric.device.type == "cuda")
    validation = Validation(config, fabric)
    monitor = Monitor(out / "tensorboard", config.model.offsets, step.iteration)

    started = time.monotonic() - step.seconds
    try:
        while (done := share_done(config, step)) < 1:
            factor = rate(config.optimizer.schedule, step.iteration, config.optimizer.warmup, done)
            for group in run.optimizer.param_groups:
                group["lr"] = config.optimizer.learning_rate * factor
            batch = prepare(fabric.to_device(next(stream)), config, settings.seed, config.augment)
            logits = run.network(batch.image_BCZYX.to(memory_format=torch.channels_last_3d))
            loss = judge(logits, batch, config)
            fabric.backward(loss)
            if config.optimizer.clip:
                fabric.clip_gradients(run.network, run.optimizer, max_norm=config.optimizer.clip)
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=True)
            run.average.update_parameters(run.network.module)

            step = Step(step.iteration + 1, time.monotonic() - started, step.best)
            monitor.count(batch.image_BCZYX.numel())
            if step.iteration % settings.log_every == 0:
                check_finite(loss.item(), step)
                left = step.seconds * (1 / max(share_done(config, step), 1e-9) - 1)
                monitor.scalars(step.iteration, loss.item(), run.optimizer.param_groups[0]["lr"], left)
            if step.iteration % settings.image_every == 0:
                monitor.pictures(step.iteration, batch, logits)
            if step.iteration % settings.checkpoint_every == 0:
                step = keep(run, step, validation, monitor)
    except KeyboardInterrupt:
        print(f"\ninterrupted at iteration {step.iteration}; continue with --resume {run.save('last.pt', step)}")
        raise
    finally:
        monitor.close()
    keep(run, step, validation, monitor)
    return out / "checkpoints" / "last.pt"


def share_done(config: Config, step: Step) -> float:
    """How much of the run is over, by iterations or by the clock, whichever is further."""
    by_count = step.iteration / config.training.iterations if config.training.iterations else 0.0
    by_clock = step.seconds / 60 / config.training.minutes if config.training.minutes else 0.0
    return max(by_count, by_clock)


def judge(logits: torch.Tensor, batch: Batch, config: Config) -> torch.Tensor:
    """The loss of a batch as the config weighs it."""
    return balanced_bce(
        logits,
        batch.target_BEZYX,
        batch.validity_BEZYX,
        class_balance=config.loss.class_balance,
        weight_cap=config.loss.weight_cap,
        label_smoothing=config.loss.label_smoothing,
    )


def check_finite(loss: float, step: Step) -> None:
    """Stop a run whose loss is no longer a number: it would only go on to save useless weights."""
    if not math.isfinite(loss):
        raise NeuropilError(
            f"the loss became {loss} at iteration {step.iteration}; lower optimizer.learning_rate or set "
            "training.precision to fp32, and --resume from the last checkpoint"
        )


def keep(run: Run, step: Step, validation: Validation, monitor: Monitor) -> Step:
    """Save ``last.pt``, and ``best.pt`` too when the held-out loss is the lowest so far."""
    loss = validation.loss(run.average, judge)
    if loss is not None:
        monitor.validation(step.iteration, loss)
    if loss is None or loss <= step.best:
        step = Step(step.iteration, step.seconds, math.inf if loss is None else loss)
        run.save("best.pt", step)
    run.save("last.pt", step)
    return step
