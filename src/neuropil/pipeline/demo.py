"""The verb ``demo``: segment sections of real tissue with the shipped model, then train another and compare."""

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
from neuropil.config.mistakes import changed
from neuropil.errors import NeuropilError
from neuropil.evaluation import Scores, evaluate
from neuropil.evaluation.tuning import tune
from neuropil.geometry import Box, VoxelSize
from neuropil.inputs import make_folder
from neuropil.models import build_network
from neuropil.models.checkpoint import Model, load_model
from neuropil.pipeline.fetch import fetch, find_snemi3d
from neuropil.pipeline.scoring import write_json
from neuropil.synthetic import neuropil as grow
from neuropil.volumes import Metadata, open_volume, write_volume
from neuropil.volumes.atomic import expect_output
from neuropil.volumes.locks import working_in

SHIPPED = "snemi3d"
"""The model of the package that the demo uses."""

SYNTHETIC = (100, 384, 384)
"""Voxels of the synthetic volume that is used if SNEMI3D is not available."""

PARTS = ((0, 60), (60, 80), (80, 100))
"""Its sections for training, validation and test, as for SNEMI3D."""


@dataclass(frozen=True)
class DemoData:
    """A labelled stack in three parts: training, validation, test."""

    name: str
    image: str
    labels: str
    voxel_size: VoxelSize
    train: Box
    validation: Box
    test: Box


@dataclass
class StepTimer:
    """Measures and prints the seconds of each step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str, what: str) -> Iterator[None]:
        print(f"\n── {what}", flush=True)
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)
        print(f"   {self.seconds[name]} s", flush=True)


def demo(data: Path | str | None = None, out: Path | str = "outputs/demo", minutes: float = 5.75) -> Path:
    """Segment with the shipped model, train another, score and show both; all results are written to ``out``.

    Args:
        data: folder with SNEMI3D. None: ``$NEUROPIL_DATA``, then the cache, then a download, and if that fails,
            synthetic tissue.
        out: folder for ``scores.json``, ``index.html``, ``demo.png``, ``affinities.zarr``, ``segmentation.h5`` and
            the checkpoints.
        minutes: wall time of the training. 0: no training, only the shipped model.

    Returns:
        Path of ``scores.json``.

    Raises:
        NeuropilError: a data folder without data, an output folder that cannot be written, less than 0 minutes.
    """
    if not minutes >= 0:
        raise NeuropilError(f"--minutes: expected minutes of training, at least 0 (no training), got {minutes}")
    with working_in(Path(out)):
        for name in ("scores.json", "demo.png", "index.html"):
            expect_output(Path(out) / name)
        return _demo(data, Path(out), minutes)


def _demo(data: Path | str | None, out: Path, minutes: float) -> Path:
    timer = StepTimer()
    stack = find_data(data, out)
    print(f"data: {stack.name}\n   {stack.image}\n   results go to {out}/")
    judged: dict[str, Judged] = {}
    sections = _sections(stack.test)
    with timer.step("shipped", f"the model that comes with neuropil, {SHIPPED}, on sections {sections}"):
        model = load_model(SHIPPED)
        folder = out / "shipped" if minutes else out
        judged["shipped"] = judge(model, stack, folder, model.config.predict.tta, model.config.segment.threshold)
    print(f"   {_line(judged['shipped'].scores)}")
    if minutes:
        judged = {"untrained": _untrained(stack, minutes, out, timer), **judged}
        judged["trained"] = _trained(stack, minutes, out, timer)
    last = list(judged.values())[-1]
    scores = last.scores.to_json() | {name: one.scores.to_json() for name, one in judged.items()}
    scores |= {"threshold": last.threshold, "box": str(stack.test), "data": stack.name, "seconds": timer.seconds}
    path = out / "scores.json"
    write_json(path, scores)
    with timer.step("show", "drawing"):
        page = show(stack, out, judged, timer.seconds)
    _conclude(judged, page, path)
    return path


def _untrained(stack: DemoData, minutes: float, out: Path, timer: StepTimer) -> Judged:
    config = recipe(stack, minutes)
    with timer.step("untrained", f"an untrained network on sections {_sections(stack.test)}, to compare with"):
        blank = Model(build_network(config.model).eval(), config, {"voxel_size": list(stack.voxel_size)})
        return judge(blank, stack, out / "untrained", tta=1)


def _trained(stack: DemoData, minutes: float, out: Path, timer: StepTimer) -> Judged:
    from neuropil.training import train

    with timer.step("train", f"training on sections {_sections(stack.train)} for {minutes:g} minutes"):
        model = load_model(train(recipe(stack, minutes), out))
    with timer.step("segment", f"predicting, segmenting and scoring sections {_sections(stack.test)}"):
        return judge(model, stack, out, model.config.predict.tta)


def find_data(data: Path | str | None, out: Path) -> DemoData:
    """SNEMI3D from disk or by download, else synthetic tissue."""
    found = find_snemi3d(data)
    if found is None:
        print("SNEMI3D is not on this machine (--data, NEUROPIL_DATA, cache); fetching it")
        try:
            found = find_snemi3d(fetch("snemi3d"))
        except NeuropilError as error:
            print(f"   not possible: {error}\n   using synthetic tissue instead: its scores say nothing about EM")
    if found is None:
        return _grow(out)
    return DemoData("SNEMI3D", found.image, found.labels, found.voxel_size, found.train, found.validation, found.test)


def _grow(out: Path) -> DemoData:
    image, labels = grow(SYNTHETIC, seed=0)
    metadata = Metadata(voxel_size=(30.0, 6.0, 6.0))
    folder = out / "synthetic"
    make_folder(folder)
    write_volume(folder / "image.h5", image, metadata)
    write_volume(folder / "labels.h5", labels, metadata)
    _, y, x = SYNTHETIC
    parts = [Box((a, 0, 0), (b, y, x)) for a, b in PARTS]
    return DemoData("synthetic", f"{folder}/image.h5", f"{folder}/labels.h5", (30.0, 6.0, 6.0), *parts)


def recipe(stack: DemoData, minutes: float) -> Config:
    """The recipe ``snemi3d-minutes.yaml`` for this stack."""
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
    with as_file(files("neuropil.pipeline") / "snemi3d-minutes.yaml") as path:
        return load_config([path], sets)


@dataclass(frozen=True)
class Judged:
    """Scores and files of a model's segmentation of the test sections."""

    threshold: float
    scores: Scores
    affinities: Path
    segmentation: Path


def judge(model: Model, stack: DemoData, out: Path, tta: int, threshold: float | None = None) -> Judged:
    """Segment and score the test sections, with the given threshold, or one chosen on the validation sections."""
    from neuropil.inference import predict_volume
    from neuropil.progress import ProgressDisplay
    from neuropil.segmentation import segment_volume

    make_folder(out)
    views = changed(model.config.predict, {"tta": tta}, "demo")
    for stale in out.glob("*.unfinished"):  # of a stopped demo, whose network was another one
        shutil.rmtree(stale)
    with open_volume(stack.image) as image, open_volume(stack.labels) as labels, ProgressDisplay() as progress:
        if threshold is None:
            predict_volume(model, image, out / "validation.zarr", views, box=stack.validation, progress=progress)
            with open_volume(out / "validation.zarr") as validation:
                tuning = tune(validation, labels, model.config.segment)
            threshold = tuning.settings.threshold
            assert threshold is not None
            print("".join(f"   {line}\n" for line in tuning.lines()), end="")
            print(f"   threshold {threshold:.3f}: chosen on sections {_sections(stack.validation)}")
        else:
            print(f"   threshold {threshold:.3f}: comes with the model")
        settings = model.config.segment.model_copy(update={"threshold": threshold})
        chosen = replace(model, config=model.config.model_copy(update={"segment": settings}))
        predict_volume(chosen, image, out / "affinities.zarr", views, box=stack.test, progress=progress)
        segment_volume(out / "affinities.zarr", out / "segmentation.h5", settings)
        with open_volume(out / "segmentation.h5") as written:
            scores = evaluate(written, labels, box=stack.test)
    return Judged(threshold, scores, out / "affinities.zarr", out / "segmentation.h5")


def show(stack: DemoData, out: Path, judged: dict[str, Judged], seconds: dict[str, float]) -> Path:
    """Write ``demo.png``, a picture for each further model, and the page that shows them."""
    from neuropil.viewing.page import write_page

    names = [name for name in reversed(judged) if name != "untrained"]
    files = [out / ("demo.png" if name == names[0] else f"{name}.png") for name in names]
    figures = [
        (f"One of the sections that the network has not seen: the {name} model.", _draw(stack, judged[name], file))
        for name, file in zip(names, files, strict=True)
    ]
    facts: dict[str, Any] = {"data": stack.name}
    if "trained" in judged:
        facts |= {
            "trained on": f"sections {_sections(stack.train)}",
            "threshold chosen on": f"sections {_sections(stack.validation)}: {judged['trained'].threshold:.3f}",
            "recipe": "config.yaml in this folder",
        }
    facts |= {
        "shipped model": f"neuropil info {SHIPPED}; threshold {judged['shipped'].threshold:.3f}, chosen on SNEMI3D's "
        "sections 80–99",
        "segmented and scored": f"sections {_sections(stack.test)} ({stack.test})",
    }
    columns = {name: one.scores.to_json() for name, one in judged.items()}
    return write_page(
        out / "index.html", "neuropil demo", scores=columns, figures=figures, facts=facts, seconds=seconds
    )


def _draw(stack: DemoData, judged: Judged, file: Path) -> Path:
    from neuropil.viewing.figures import demo_figure

    affinities = open_volume(judged.affinities)
    codes = affinities.read(stack.test)
    values = affinities.metadata.encoding.decode(codes) if affinities.metadata.encoding else codes
    return demo_figure(
        open_volume(stack.image).read(stack.test),
        values,
        open_volume(judged.segmentation).read(stack.test),
        open_volume(stack.labels).read(stack.test),
        judged.scores,
        file,
        title=f"{stack.name} sections {_sections(stack.test)}",
    )


def _sections(box: Box) -> str:
    return f"{box.start[0]}–{box.stop[0] - 1}"


def _line(scores: Scores) -> str:
    return (
        f"adapted Rand error {scores.adapted_rand_error:.4f}, VI split {scores.voi_split:.4f}, "
        f"merge {scores.voi_merge:.4f} bit"
    )


def _conclude(judged: dict[str, Judged], page: Path, path: Path) -> None:
    print("\n" + " " * 24 + "".join(f"{name:>11s}" for name in judged))
    for name, key in (
        ("adapted Rand error", "adapted_rand_error"),
        ("VI split (bit)", "voi_split"),
        ("VI merge (bit)", "voi_merge"),
    ):
        print(f"   {name:21s}" + "".join(f"{getattr(one.scores, key):11.4f}" for one in judged.values()))
    print(f"\npicture and scores: {page} and {path}")
