"""The program behind ``scripts/main.py``: runs the commands of the classic tutorial from its configuration files.

It trains, or predicts with ``--inference``; with ``--evaluate LABELS`` it also segments and scores the prediction.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from neuropil.errors import NeuropilError

if TYPE_CHECKING:
    from neuropil.compat.pytc import Classic
    from neuropil.config import Config, PredictConfig
    from neuropil.models.checkpoint import Model
    from neuropil.volumes.zoom import Factors


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; the remaining words are pairs of ``KEY VALUE``.

    >>> parse(["--config-file", "a.yaml", "SYSTEM.NUM_GPUS", "1", "--inference"]).overrides
    ['SYSTEM.NUM_GPUS', '1']
    """
    parser = argparse.ArgumentParser(
        prog="scripts/main.py", description="Train, predict and score from configuration files of PyTorch Connectomics."
    )
    parser.add_argument("--config-base", metavar="YAML", help="read first")
    parser.add_argument("--config-file", metavar="YAML", help="read second; wins over the base")
    parser.add_argument("--distributed", action="store_true", help="one process per device, started by a launcher")
    parser.add_argument("--inference", action="store_true", help="predict INFERENCE.IMAGE_NAME with --checkpoint")
    parser.add_argument("--checkpoint", metavar="FILE", help="resume from it; SOLVER.ITERATION_RESTART: weights only")
    parser.add_argument(
        "--evaluate", metavar="LABELS", help="with --inference: also segment and score; @ separates several"
    )
    parser.add_argument("--manual-seed", type=int, metavar="N", help="seed of the random numbers")
    parser.add_argument("--local_rank", "--local-rank", type=int, metavar="N", help="set by torch.distributed.launch")
    parser.add_argument("--local_world_size", type=int, metavar="N", help="set by the launcher; not needed")
    parser.add_argument("--debug", action="store_true", help="no effect: errors are always shown")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="such as SOLVER.ITERATION_TOTAL 1000")
    return parser.parse_intermixed_args(list(words))


def main(words: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0 done, 2 wrong input."""
    options = parse(sys.argv[1:] if words is None else words)
    # About the memory layout of 1×1×1 kernels: users can do nothing about it.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    try:
        if options.local_rank is not None:
            os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
        if not options.config_base and not options.config_file:
            raise NeuropilError("--config-file: expected a YAML file, got none; see configs/SNEMI")
        classic = _read(options)
        if options.inference:
            _infer(classic, options)
        elif options.evaluate:
            raise NeuropilError("--evaluate scores what --inference predicts; give both")
        else:
            _train(classic, options)
    except NeuropilError as error:
        print(f"scripts/main.py: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"scripts/main.py: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _read(options: argparse.Namespace) -> Classic:
    """Read and translate the configuration; rank 0 prints the notes and saves the classic form."""
    from neuropil.compat.pytc import read_settings, translate
    from neuropil.compat.pytc.settings import SAVED, settings_to_yaml
    from neuropil.volumes.allowances import allow_outside

    files = [path for path in (options.config_base, options.config_file) if path]
    settings = read_settings(files, options.overrides, refuse=False)
    classic = translate(settings)
    if not options.inference and _rank() == 0:
        classic.output.mkdir(parents=True, exist_ok=True)
        (classic.output / SAVED).write_text(settings_to_yaml(settings), encoding="utf-8")
    for note in classic.notes:
        _say(f"note: {note}")
    if any(name.endswith(".json") for name in (*classic.images, *(pair.image for pair in classic.config.data.train))):
        _say("note: tiles are read from wherever their list says, as by PyTorch Connectomics")
        allow_outside()
    return classic


def _train(classic: Classic, options: argparse.Namespace) -> None:
    from neuropil.compat.pytc.checkpoint import resumable
    from neuropil.compat.pytc.paths import CHECKPOINT
    from neuropil.training import Layout, train

    if not classic.config.data.train:
        raise NeuropilError("DATASET.IMAGE_NAME: expected a volume to train on, got none")
    config = _on_devices(classic, options)
    checkpoint = _checkpoint(options)
    if checkpoint is not None:
        # Each rank makes its own copy, so that none waits for another.
        taken = resumable(checkpoint, config, classic.output / "checkpoints" / f"taken_{_rank()}.pt")
        if taken is not None:
            _say(f"{checkpoint} is of PyTorch Connectomics; resuming from its converted copy {taken}")
            checkpoint = taken
    resume, pretrained = (None, checkpoint) if classic.restart else (checkpoint, None)
    last = train(config, classic.output, resume, pretrained, Layout(CHECKPOINT, "."))
    if _rank() == 0:
        numbered = [path for path in classic.output.glob("checkpoint_*.pth") if path.samefile(last)]
        _say(f"wrote {numbered[0]}")


def _infer(classic: Classic, options: argparse.Namespace) -> None:
    """Predict each image, then segment and score it if labels are given; only rank 0 works."""
    from neuropil.compat.pytc.checkpoint import load_any_model
    from neuropil.compat.pytc.matching import predictable
    from neuropil.inference import predict_volume
    from neuropil.progress import ProgressDisplay

    if _rank() > 0:
        return
    checkpoint = _checkpoint(options)
    if checkpoint is None:
        raise NeuropilError("--inference needs --checkpoint, such as outputs/SNEMI_UNet/checkpoint_100000.pth")
    if not classic.images:
        raise NeuropilError("INFERENCE.IMAGE_NAME: expected an image to predict, got none")
    labels = _labels(options, len(classic.images))
    used = _on_devices(replace(classic, workers=0), options).training  # prediction draws no samples
    trained, _ = load_any_model(checkpoint, classic.config)
    asked = classic.config.model_copy(update={"predict": _writing(classic, trained)})
    model = predictable(trained, asked, checkpoint, classic.zoom)
    for number, (image, output) in enumerate(zip(classic.images, classic.predictions, strict=True)):
        _make_folder(output)
        with ProgressDisplay() as progress:
            predict_volume(model, image, output, device=used.device, devices=used.devices, progress=progress)
        _say(f"wrote {output}")
        if labels:
            folder = next(parent for parent in output.parents if parent.is_dir())
            _evaluate(output, labels[number], folder, f"_{number}" if len(labels) > 1 else "", classic.zoom)
    if classic.plain_name is not None:
        file = output.parent if output.parent.suffix else output
        classic.plain_name.unlink(missing_ok=True)
        os.link(file, classic.plain_name)
        _say(f"{classic.plain_name} is the same file")


def _writing(classic: Classic, model: Model) -> PredictConfig:
    """The settings of the prediction; views of classic networks are undone as in the classic program."""
    from neuropil.compat.pytc.checkpoint import is_classic

    turn = classic.turn_edges
    if turn is None and is_classic(model) and classic.written.tta > 1:
        turn = False
        _say(
            "note: views are undone voxel by voxel, as PyTorch Connectomics does, which blurs boundaries; "
            "INFERENCE.AUG_EDGES True undoes them edge by edge"
        )
    return classic.written.model_copy(update={"views": "voxels" if turn is False else "edges"})


def _make_folder(output: Path) -> None:
    """Make the folder for a file, or for the file of an array."""
    file = output.parent if output.parent.suffix else output
    file.parent.mkdir(parents=True, exist_ok=True)


def _labels(options: argparse.Namespace, images: int) -> list[str]:
    """The labels to score with, one for each image; opened now, because a prediction takes long."""
    from neuropil.volumes import open_volume

    labels = options.evaluate.split("@") if options.evaluate else []
    if labels and len(labels) != images:
        raise NeuropilError(
            f"--evaluate: expected {images} volumes of labels with @ between, one for each of INFERENCE.IMAGE_NAME, "
            f"got {len(labels)}"
        )
    for path in labels:
        open_volume(path).close()
    return labels


def _evaluate(affinities: Path, labels: str, folder: Path, number: str, zoom: Factors) -> None:
    """Segment affinities with the defaults, score the result, and write both next to them with the same number."""
    from neuropil.config import SegmentConfig
    from neuropil.evaluation import evaluate
    from neuropil.pipeline.scoring import write_json
    from neuropil.segmentation import segment_volume, settle
    from neuropil.volumes import open_volume
    from neuropil.volumes.zoom import zoomed

    settings = SegmentConfig()
    segmentation, scores_file = folder / f"segmentation{number}.h5", folder / f"scores{number}.json"
    with open_volume(affinities) as volume:
        settings, lines = settle(volume, settings)
        _say("\n".join(lines))
        segment_volume(volume, segmentation, settings)
    with open_volume(segmentation) as found, open_volume(labels) as truth:
        scores = evaluate(found, zoomed(truth, zoom, nearest=True))
    _say(str(scores))
    write_json(scores_file, scores.to_json())
    _say(f"wrote {segmentation} and {scores_file}")


def _on_devices(classic: Classic, options: argparse.Namespace) -> Config:
    """The recipe with the devices of this machine and the seed; one warning if the devices differ from those wanted."""
    import torch

    from neuropil.compat.pytc.devices import choose_devices, use_devices
    from neuropil.models.precision import has_fast_bf16

    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    ranks = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", "0"))) if "RANK" in os.environ else 0
    devices = choose_devices(classic.gpus, "ddp" if options.distributed else classic.parallel, ranks, visible)
    half = visible > 0 and not has_fast_bf16(torch.device("cuda"))
    config, warning = use_devices(classic, devices, half)
    if warning and _rank() == 0:
        print(f"scripts/main.py: warning: {warning}", file=sys.stderr, flush=True)
    if options.manual_seed is None:
        return config
    if not 0 <= options.manual_seed < 2**63:
        raise NeuropilError(f"--manual-seed: expected a whole number from 0 to 2^63 - 1, got {options.manual_seed}")
    return config.model_copy(update={"training": config.training.model_copy(update={"seed": options.manual_seed})})


def _checkpoint(options: argparse.Namespace) -> Path | None:
    """The checkpoint of the command line, or the file with the other ending."""
    from neuropil.compat.pytc.paths import find_checkpoint

    if options.checkpoint is None:
        return None
    path, said = find_checkpoint(options.checkpoint)
    if said:
        _say(said)
    return path


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _say(text: str) -> None:
    """Print on rank 0."""
    if _rank() == 0:
        print(text, flush=True)
