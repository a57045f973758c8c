"""The demo: train a small network in front of the user, segment sections it has not seen, score and show them."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from neuropil.config import Config, load_config
from neuropil.errors import NeuropilError
from neuropil.evaluation import Scores, evaluate
from neuropil.evaluation.tuning import PLATEAU, tune
from neuropil.fetch import fetch, find_snemi3d
from neuropil.geometry import Box, VoxelSize
from neuropil.models import build_network
from neuropil.models.checkpoint import Model, load_model
from neuropil.synthetic import neuropil as grow
from neuropil.volumes import Metadata, open_volume, write_volume

SYNTHETIC = (80, 384, 384)
"""Voxels of the volume that stands in where there is neither data nor network."""


@dataclass(frozen=True)
class DemoData:
    """A labelled stack in three parts: to learn from, to choose with, to report on."""

    name: str
    image: str
    labels: str
    voxel_size: VoxelSize
    train: Box
    validation: Box
    test: Box


@dataclass
class Clock:
    """Seconds per step, printed as they pass."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        print(f"\n── {what}", flush=True)
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)
        print(f"   {self.seconds[name]} s", flush=True)


def demo(data: Path | str | None = None, out: Path | str = "outputs/demo", minutes: float = 5.75) -> Path:
    """Train, segment, score and show; everything is left in ``out``.

    Args:
        data: folder with SNEMI3D. None: ``$NEUROPIL_DATA``, then the cache, then a download, and where that fails
            too, synthetic tissue.
        out: folder for ``scores.json``, ``index.html``, ``demo.png``, ``affinities.zarr``, ``segmentation.h5`` and
            the checkpoints.
        minutes: how long to train, wall clock.

    Returns:
        Path of ``scores.json``.

    Raises:
        NeuropilError: a data folder without data, an output folder that cannot be written, no minutes.
    """
    if minutes <= 0:
        raise NeuropilError(f"--minutes must be above 0, got {minutes}: the demo trains the network that it shows")
    out, clock = Path(out), Clock()
    stack = find_data(data, out)
    print(f"data: {stack.name}\n   {stack.image}\n   results go to {out}/")
    config = recipe(stack, minutes)

    with clock.step("untrained", f"an untrained network on sections {_sections(stack.test)}, to compare with"):
        blank = Model(build_network(config.model).eval(), config, {"voxel_size": list(stack.voxel_size)})
        untrained = judge(blank, stack, out / "untrained", tta=1)
    with clock.step("train", f"training on sections {_sections(stack.train)} for {minutes:g} minutes"):
        from neuropil.training import train

        model = load_model(train(config, out))
    with clock.step("segment", f"predicting, segmenting and scoring sections {_sections(stack.test)}"):
        trained = judge(model, stack, out, tta=config.predict.tta)
    scores = trained.scores.to_json() | {
        "untrained": untrained.scores.to_json(),
        "trained": trained.scores.to_json(),
        "threshold": trained.threshold,
        "box": str(stack.test),
        "data": stack.name,
        "seconds": clock.seconds,
    }
    path = out / "scores.json"
    path.write_text(json.dumps(scores, indent=2) + "\n")
    with clock.step("show", "drawing"):
        page = show(stack, out, untrained, trained, clock.seconds)
    _conclude(untrained, trained, page, path)
    return path


def find_data(data: Path | str | None, out: Path) -> DemoData:
    """SNEMI3D from the disk or from the network, else synthetic tissue."""
    found = find_snemi3d(data)
    if found is None:
        print("SNEMI3D is not on this machine (--data, NEUROPIL_DATA, cache); fetching it")
        try:
            found = find_snemi3d(fetch("snemi3d"))
        except NeuropilError as error:
            print(f"   not possible: {error}\n   going on with synthetic tissue instead: its scores say nothing of EM")
    if found is None:
        return _grow(out)
    return DemoData("SNEMI3D", found.image, found.labels, found.voxel_size, found.train, found.validation, found.test)


def _grow(out: Path) -> DemoData:
    image, labels = grow(SYNTHETIC, seed=0)
    metadata = Metadata(voxel_size=(30.0, 6.0, 6.0))
    folder = out / "synthetic"
    folder.mkdir(parents=True, exist_ok=True)
    write_volume(folder / "image.h5", image, metadata)
    write_volume(folder / "labels.h5", labels, metadata)
    _, y, x = SYNTHETIC
    parts = [Box((a, 0, 0), (b, y, x)) for a, b in ((0, 60), (60, 70), (70, 80))]
    return DemoData("synthetic", f"{folder}/image.h5", f"{folder}/labels.h5", (30.0, 6.0, 6.0), *parts)


def recipe(stack: DemoData, minutes: float) -> Config:
    """The recipe ``snemi3d-minutes.yaml`` on this stack."""
    pairs = {
        name: json.dumps({"image": stack.image, "labels": stack.labels, "box": str(box)})
        for name, box in (("train", stack.train), ("validation", stack.validation), ("test", stack.test))
    }
    sets = [
        f"data.train=[{pairs['train']}]",
        f"data.validation=[{pairs['validation']}]",
        f"data.test={pairs['test']}",
        f"data.voxel_size={list(stack.voxel_size)}",
        f"training.minutes={minutes}",
    ]
    with as_file(files("neuropil.recipes") / "snemi3d-minutes.yaml") as path:
        return load_config([path], sets)


@dataclass(frozen=True)
class Judged:
    """A model's segmentation of the test sections, scored."""

    threshold: float
    scores: Scores
    affinities: Path
    segmentation: Path


def judge(model: Model, stack: DemoData, out: Path, tta: int) -> Judged:
    """Choose the threshold on the validation sections, then segment and score the test sections with it."""
    from neuropil.inference import ProgressLine, predict_volume
    from neuropil.pipeline.segmenting import segment_volume

    out.mkdir(parents=True, exist_ok=True)
    for stale in out.glob("*.unfinished"):  # of a demo that was stopped: this one has another network
        shutil.rmtree(stale)
    with open_volume(stack.image) as image, open_volume(stack.labels) as labels:
        predict_volume(model, image, out / "validation.zarr", box=stack.validation, tta=tta, watch=ProgressLine())
        with open_volume(out / "validation.zarr") as validation:
            threshold = tune([(validation, labels)], model.config.segment, tolerance=PLATEAU).settings.threshold
        assert threshold is not None
        print(f"   threshold {threshold:.3f}: the best on sections {_sections(stack.validation)}")
        settings = model.config.segment.model_copy(update={"threshold": threshold})
        chosen = replace(model, config=model.config.model_copy(update={"segment": settings}))
        predict_volume(chosen, image, out / "affinities.zarr", box=stack.test, tta=tta, watch=ProgressLine())
        segment_volume(out / "affinities.zarr", out / "segmentation.h5", settings)
        with open_volume(out / "segmentation.h5") as written:
            scores = evaluate(written, labels, box=stack.test)
    return Judged(threshold, scores, out / "affinities.zarr", out / "segmentation.h5")


def show(stack: DemoData, out: Path, untrained: Judged, trained: Judged, seconds: dict[str, float]) -> Path:
    """Write ``demo.png`` and the page around it."""
    from neuropil.viewing.figures import demo_figure
    from neuropil.viewing.page import write_page

    affinities = open_volume(trained.affinities)
    codes = affinities.read()
    values = affinities.metadata.encoding.decode(codes) if affinities.metadata.encoding else codes
    figure = demo_figure(
        open_volume(stack.image).read(stack.test),
        values,
        open_volume(trained.segmentation).read(),
        open_volume(stack.labels).read(stack.test),
        trained.scores,
        out / "demo.png",
        title=f"{stack.name} sections {_sections(stack.test)}",
    )
    facts: dict[str, Any] = {
        "data": stack.name,
        "trained on": f"sections {_sections(stack.train)}",
        "threshold chosen on": f"sections {_sections(stack.validation)}: {trained.threshold:.3f}",
        "scored on": f"sections {_sections(stack.test)} ({stack.test})",
        "recipe": "config.yaml in this folder",
    }
    columns = {"untrained": untrained.scores.to_json(), "trained": trained.scores.to_json()}
    caption = "One of the sections that the network has not seen."
    return write_page(
        out / "index.html", "neuropil demo", scores=columns, figures=[(caption, figure)], facts=facts, seconds=seconds
    )


def _sections(box: Box) -> str:
    return f"{box.start[0]}–{box.stop[0] - 1}"


def _conclude(untrained: Judged, trained: Judged, page: Path, path: Path) -> None:
    print("\n                        untrained   trained")
    for name, key in (
        ("adapted Rand error", "adapted_rand_error"),
        ("VI split (bit)", "voi_split"),
        ("VI merge (bit)", "voi_merge"),
    ):
        before, after = getattr(untrained.scores, key), getattr(trained.scores, key)
        print(f"   {name:20s} {before:9.4f} {after:9.4f}")
    print(f"\npicture and scores: {page} and {path}")
