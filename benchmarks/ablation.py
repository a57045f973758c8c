"""What each part of the recipe is worth: train variants alike, score each on sections that none of them saw.

    export NEUROPIL_DATA=/folder/of/data
    python benchmarks/ablation.py --iterations 1000 --variants minutes,nearest,erosion0     three variants, same steps
    python benchmarks/ablation.py --minutes 5.75 --variants minutes,full                    two variants, same minutes
    python benchmarks/ablation.py --iterations 1000 --variants all --seeds 0,1              everything, twice
    python benchmarks/ablation.py                                                           train nothing: the tables

Each variant is ``--config`` (configs/snemi3d/minutes.yaml: sections 0-59) with a few fields changed, trained for the
same iterations or minutes; the last checkpoint predicts the first volume of ``data.validation`` (sections 60-79) with
one view; watershed, mean agglomeration, best adapted Rand error and VI over all thresholds, with no minimum size.

What was measured lies in ``OUT/CONFIG-LENGTH/VARIANT-seedN/result.json``: a variant that has one is skipped, one that
was interrupted goes on from its last checkpoint (every 100 iterations). So one call per variant does as well as one for
all. The tables are Markdown, one per length; several seeds are shown as mean (lowest-highest).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from neuropil import Config, agglomerate, load_config, predict, threshold_curve, train, watershed
from neuropil.models.checkpoint import read_checkpoint
from neuropil.training.batches import open_pair

CONFIGS = Path(__file__).parents[1] / "configs" / "snemi3d"
DEFECTS = ("missing", "partly_missing", "blurred", "noisy", "motion")
MISALIGNED = ("step", "slip")
BENT = ("rotate", "scale", "elastic")


def from_full(*names: str) -> list[str]:
    """The strengths of augmentation that configs/snemi3d/full.yaml has."""
    augment = load_config([CONFIGS / "full.yaml"]).augment.model_dump()
    return [f"augment.{name}={augment[name]}" for name in names]


def variants() -> dict[str, list[str]]:
    """Fields that each variant changes. Beside erosion0 and erosion2 stands minutes, whose erosion is 1."""
    return {
        "minutes": [],
        "nearest": ["model.offsets=nearest"],
        "long12": ["model.offsets=long12"],
        "erosion0": ["model.label_erosion=0"],
        "erosion2": ["model.label_erosion=2"],
        "defects": from_full(*DEFECTS, *MISALIGNED),
        "bent": from_full(*BENT),
        "no-ema": ["optimizer.ema=0"],
        "full": ["model.offsets=long12", *from_full(*DEFECTS, *MISALIGNED, *BENT)],
        "full-no-ema": ["model.offsets=long12", *from_full(*DEFECTS, *MISALIGNED, *BENT), "optimizer.ema=0"],
    }


def recipe(given: argparse.Namespace, variant: str, seed: int) -> Config:
    """The recipe of one variant. It does not validate while it trains: minutes are for training alone."""
    length = [f"training.iterations={given.iterations or 'null'}", f"training.minutes={given.minutes or 'null'}"]
    often = ["training.checkpoint_every=100", "training.validate_every=1000000000", f"training.seed={seed}"]
    return load_config([given.config], [*variants()[variant], *length, *often, *given.set])


def measure(config: Config, folder: Path) -> dict[str, Any]:
    """Train, or go on training, and score."""
    held_out = open_pair(config.data.validation[0])
    box, last = held_out.region(), folder / "checkpoints" / "last.pt"
    alone = Config.from_dict(config.to_dict() | {"data": config.to_dict()["data"] | {"validation": []}})
    checkpoint = train(alone, folder, resume=last if last.exists() else None)
    start = time.perf_counter()
    affinities = predict(checkpoint, held_out.image.read(box), tta=1)
    fragments = watershed(affinities)
    curve = threshold_curve(agglomerate(affinities, fragments), fragments, held_out.labels.read(box))
    found: dict[str, Any] = {}
    for score in ("adapted_rand_error", "voi"):
        threshold, found[score] = curve.best(score)  # type: ignore[arg-type]
        found[f"{score}_threshold"] = threshold
        if score == "voi":
            step = int(curve.step(threshold))
            found |= {"voi_split": float(curve.voi_split[step]), "voi_merge": float(curve.voi_merge[step])}
    seconds = read_checkpoint(checkpoint)["step"]["seconds"]
    iterations = read_checkpoint(checkpoint)["step"]["iteration"]
    more = {"iterations": iterations, "train_seconds": round(seconds, 1), "box": str(box)}
    return found | more | {"score_seconds": round(time.perf_counter() - start, 1), "threads": torch.get_num_threads()}


def table(folder: Path) -> str:
    """The results below a folder as Markdown, in the order of the variants."""
    results: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*-seed*/result.json")):
        results.setdefault(path.parent.name.rpartition("-seed")[0], []).append(json.loads(path.read_text()))
    columns = ("adapted_rand_error", "voi", "voi_split", "voi_merge")
    lines = [
        "| variant | runs | steps | adapted Rand error | VI | split | merge |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(results, key=[*variants(), *results].index):
        runs = results[name]
        steps = round(sum(run["iterations"] for run in runs) / len(runs))
        cells = [spread([run[column] for run in runs]) for column in columns]
        lines.append(f"| {name} | {len(runs)} | {steps:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """The mean, and between which values it lies."""
    mean = f"{sum(values) / len(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f}-{max(values):.3f})"


def main() -> None:
    """Train what was asked for and is not there yet, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default="", help=f"all, or some of {','.join(variants())}")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--iterations", type=int)
    length.add_argument("--minutes", type=float)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--config", type=Path, default=CONFIGS / "minutes.yaml")
    parser.add_argument("--set", action="append", default=[], help="section.key=value, for every variant")
    parser.add_argument("--out", type=Path, default=Path("outputs/ablation"))
    given = parser.parse_args()
    names = list(variants()) if given.variants == "all" else [name for name in given.variants.split(",") if name]
    if wrong := set(names) - set(variants()):
        parser.error(f"expected variants among {', '.join(variants())}; got {', '.join(sorted(wrong))}")
    if names and not (given.iterations or given.minutes):
        parser.error("expected --iterations or --minutes: the same for all variants of a table")
    short = f"{given.iterations}-iterations" if given.iterations else f"{given.minutes:g}-minutes" if names else ""
    for seed in [int(number) for number in given.seeds.split(",")]:
        for name in names:
            folder = given.out / f"{given.config.stem}-{short}" / f"{name}-seed{seed}"
            if not (folder / "result.json").exists():
                result = measure(recipe(given, name, seed), folder)
                (folder / "result.json").write_text(json.dumps(result, indent=2) + "\n")
                print(f"\n{name} seed {seed}: {json.dumps(result)}", flush=True)
    for folder in sorted(path for path in given.out.glob("*") if path.is_dir()):
        print(f"\n{folder.name}\n\n{table(folder)}")


if __name__ == "__main__":
    main()
