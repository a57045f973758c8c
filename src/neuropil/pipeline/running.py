"""The verb ``run``: train → predict → segment → evaluate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from neuropil.config import Config, SegmentConfig, VolumePair, load_config, starting_from
from neuropil.errors import NeuropilError
from neuropil.evaluation import Scores, evaluate
from neuropil.geometry import Box
from neuropil.inference import predict_volume
from neuropil.inference.resumable import unfinished
from neuropil.inputs import make_folder
from neuropil.models.checkpoint import load_model
from neuropil.models.released import find_checkpoint
from neuropil.pipeline.checking import check_volumes
from neuropil.pipeline.scaling import segment_either_way, tune_either_way
from neuropil.pipeline.scoring import write_json
from neuropil.pipeline.steps import Steps, digest_of
from neuropil.progress import ProgressDisplay
from neuropil.training import train
from neuropil.training.run import IRRELEVANT
from neuropil.viewing.results import write_results
from neuropil.volumes import Metadata, Tissue, Volume, array_volume, open_volume
from neuropil.volumes.atomic import expect_output, remove_folder
from neuropil.volumes.location import parse_location
from neuropil.volumes.locks import working_in
from neuropil.volumes.scored import scored_labels


def run(config: Config, out: Path | str, pretrained: str | None = None) -> Path:
    """Train, predict ``data.test``, segment it with the threshold that is best on ``data.validation``, and score it.

    A step is skipped if it is done and its part of the recipe and its input files have not changed. Interrupted
    training and prediction are resumed. Volumes that do not fit into memory are tuned and segmented block by block,
    with the same result; a line says which way.

    Args:
        config: the recipe. Without ``segment.threshold`` and without validation volumes the threshold is 0.5; without
            labels in ``data.test`` nothing is scored.
        out: folder for ``checkpoints/``, ``config.yaml``, ``affinities.zarr``, ``segmentation.h5``, ``scores.json``,
            and with labels in ``data.test`` also ``figure.png`` and ``index.html``.
        pretrained: a checkpoint, or the name of a model of the package, whose weights to start from, instead of
            ``training.pretrained`` of the config.

    Returns:
        Path of ``scores.json``.

    Raises:
        NeuropilError: a recipe that training cannot use or that names no ``data.test``; files that do not fit.
    """
    config = starting_from(config, pretrained)
    check_volumes(config)
    test, out = config.data.test, Path(out)
    if test is None:
        raise NeuropilError("data.test: expected the volume to segment, got none; `neuropil train` only trains")
    if any(factor != 1 for factor in config.data.zoom):
        raise NeuropilError(
            "data.zoom: `neuropil run` scores at the voxel size of the files; use `neuropil train` and `neuropil "
            "predict`, or resample the volumes first"
        )
    with working_in(out):
        for name in ("scores.json", "figure.png", "index.html", "steps.json"):
            expect_output(out / name)
        return _run(_Job(config, out, Steps(out)), test)


def _run(job: _Job, test: VolumePair) -> Path:
    with job.step("train"):
        checkpoint = _train(job)
    with job.step("tune"):
        settings = _choose(job, checkpoint)
    with job.step("predict"):
        affinities = _predict(job, checkpoint, test, job.out / "affinities.zarr", settings)
    with job.step("segment"):
        segmentation = _segment(job, affinities, settings)
    with job.step("evaluate"):
        return _evaluate(job, affinities, segmentation, settings)


class _Job:
    """A recipe, the folder of its results, the record of its steps, and the seconds of each step."""

    def __init__(self, config: Config, out: Path, steps: Steps) -> None:
        self.config, self.out, self.steps = config, out, steps
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)

    def skip(self, name: str, made_from: str, *outputs: Path) -> bool:
        """Whether a step is done; prints that, or records that the step begins."""
        if self.steps.done(name, made_from, outputs):
            print(f"{name}: done before", flush=True)
            return True
        print(f"{name} …", flush=True)
        self.steps.begin(name, made_from)
        return False


def _train(job: _Job) -> Path:
    config, folder = job.config, job.out / "checkpoints"
    last, best = folder / "last.pt", folder / "best.pt"
    settings = {
        "data": config.data.model_dump(mode="json", exclude={"test"}),
        "training": config.training.model_dump(mode="json", exclude=IRRELEVANT),
        **{name: getattr(config, name).model_dump(mode="json") for name in ("model", "augment", "loss", "optimizer")},
    }
    pairs = [*config.data.train, *config.data.validation]
    start = None if config.training.pretrained is None else find_checkpoint(config.training.pretrained)
    files = (path for pair in pairs for path in (pair.image, pair.labels, pair.mask))
    made_from = digest_of(settings, *files, start)
    interrupted = last if job.steps.begun("train", made_from) and last.exists() else None
    if not job.skip("train", made_from, last, best):
        train(config, job.out, resume=interrupted)
        job.steps.finish("train", made_from)
    return best


def _choose(job: _Job, checkpoint: Path) -> SegmentConfig:
    """The settings for segmentation; a threshold that is not in the recipe is tuned on the validation volumes."""
    settings, pairs = job.config.segment, job.config.data.validation
    if settings.threshold is not None or settings.method != "agglomerate":
        return settings
    if not pairs:
        print("threshold 0.5, the default, since the recipe has none and no volumes to choose it on")
        return settings.model_copy(update={"threshold": 0.5})
    folder, predicted = job.out / "validation", []
    for index, pair in enumerate(pairs):
        predicted.append(_predict(job, checkpoint, pair, folder / f"{index}.zarr", settings))
    snippet = folder / "segment.yaml"
    every = [pair.model_dump(mode="json") for pair in pairs]
    asked = [settings.model_dump(mode="json"), every, job.config.data.ignored]
    made_from = digest_of(asked, *predicted, *(path for pair in pairs for path in (pair.labels, pair.mask)))
    if not job.skip("tune", made_from, snippet):
        volumes = [open_volume(path) for path in predicted]
        labelled = [(v, _labels(job.config, pair, v.box)) for v, pair in zip(volumes, pairs, strict=True)]
        found = tune_either_way(labelled, settings, folder)
        print("\n".join(found.lines()), flush=True)
        found.save(folder)
        job.steps.finish("tune", made_from)
    settings = load_config([snippet]).segment
    print(f"threshold {settings.threshold:.4f}, chosen on validation", flush=True)
    return settings


def _predict(job: _Job, checkpoint: Path, pair: VolumePair, output: Path, settings: SegmentConfig) -> Path:
    """Affinities of a volume's box."""
    config = job.config
    asked = {"predict": config.predict.model_dump(mode="json"), "image": pair.image, "box": pair.box}
    made_from = digest_of(asked, checkpoint, pair.image)
    name = f"predict {output.relative_to(job.out)}"
    interrupted = job.steps.begun(name, made_from)
    if not job.skip(name, made_from, output):
        if not interrupted:  # remove an unfinished prediction of other settings
            remove_folder(unfinished(parse_location(output)))
        make_folder(output.parent)
        model = load_model(checkpoint)
        recipe = config.model_copy(update={"segment": settings, "data": model.config.data})
        image = open_volume(pair.image)
        box, chosen = _box(pair, image), replace(model, config=recipe)
        with ProgressDisplay() as progress:
            predict_volume(chosen, image, output, box=box, device=config.training.device, progress=progress)
        job.steps.finish(name, made_from)
    return output


def _segment(job: _Job, affinities: Path, settings: SegmentConfig) -> Path:
    output = job.out / "segmentation.h5"
    made_from = digest_of(settings.model_dump(mode="json"), affinities)
    if not job.skip("segment", made_from, output):
        segment_either_way(affinities, output, settings)
        job.steps.finish("segment", made_from)
    return output


def _evaluate(job: _Job, affinities: Path, segmentation: Path, settings: SegmentConfig) -> Path:
    """Scores and pictures; never skipped, because they take seconds."""
    test, output = job.config.data.test, job.out / "scores.json"
    assert test is not None
    box = open_volume(segmentation).box
    scores: Scores | None = None
    if test.labels is not None:
        scores = evaluate(open_volume(segmentation), _labels(job.config, test, box))
        print(str(scores))
    values: dict[str, Any] = scores.to_json() if scores else {}
    facts = {
        "threshold": settings.threshold,
        "box": str(box),
        "data": {"image": test.image, "labels": test.labels},
        "seconds": job.seconds,
    }
    write_json(output, {**values, **({"trained": values} if scores else {}), **facts})
    if scores:
        write_results(
            job.out,
            image=open_volume(test.image),
            affinities=open_volume(affinities),
            segmentation=open_volume(segmentation),
            labels=_labels(job.config, test, box),
            scores=scores,
            facts=facts,
        )
    print(f"results are in {job.out}/")
    return output


def _box(pair: VolumePair, image: Volume) -> Box | None:
    """The part of a volume to predict: its box, else the box of its labels, else all of it."""
    if pair.box is not None:
        return Box.parse(pair.box, image.box)
    if pair.labels is None:
        return None
    return image.box.intersect(open_volume(pair.labels).box)


def _labels(config: Config, pair: VolumePair, box: Box) -> Volume:
    """The labels of a box, in memory; 0 where the mask or ``data.unlabelled`` says that voxels are not annotated."""
    assert pair.labels is not None
    tissue = None if pair.mask is None else Tissue(pair.mask)
    labels = scored_labels(open_volume(pair.labels), config.data.ignored, tissue)
    return array_volume(labels.read(box), Metadata(labels.metadata.voxel_size, box.start))
