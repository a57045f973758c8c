"""What test-time symmetries are worth: scores on held-out sections by their number and by how they are combined.

    python benchmarks/symmetries.py CHECKPOINT IMAGE LABELS --box 60:70,:,: [--only "8 mean;8 min"] [--out FILE.json]

Each row predicts the box, agglomerates by mean affinity and takes the threshold that is best for that score on that
box: what the affinities are worth, not what a threshold chosen elsewhere would have given. ``--surround 0,0,0`` leaves
out what lies around the box. Without a checkpoint nothing is done.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import product
from pathlib import Path

import torch

from neuropil import Box, Config, open_volume
from neuropil.evaluation.tuning import tune
from neuropil.inference import predict_volume

ROWS = [f"{tta} {mode}" for tta, mode in product((1, 4, 8, 16), ("mean", "min", "max")) if tta > 1 or mode == "mean"]


def measure(given: argparse.Namespace, row: str) -> dict[str, float]:
    """Predict and score one row."""
    tta, mode = row.split()
    image, labels = open_volume(given.image), open_volume(given.labels)
    box = Box.parse(given.box, image.box)
    surround = [int(n) for n in given.surround.split(",")] if given.surround else None
    with tempfile.TemporaryDirectory() as folder:
        output, begin = f"{folder}/affinities.zarr", time.perf_counter()
        how = {"tta": int(tta), "tta_mode": mode, "surround": surround, "device": given.device}
        predict_volume(given.checkpoint, image, output, box=box, **how)
        seconds = time.perf_counter() - begin
        settings = Config().segment.model_copy(update={"min_size": given.min_size})
        found = tune(open_volume(output), labels, settings, box=box)
    rand, rand_at = (found.curve.best("adapted_rand_error")[n] for n in (1, 0))
    voi, voi_at = (found.curve.best("voi")[n] for n in (1, 0))
    return {
        "adapted_rand_error": rand,
        "threshold": rand_at,
        "voi": voi,
        "voi_threshold": voi_at,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?")
    parser.add_argument("image", nargs="?")
    parser.add_argument("labels", nargs="?")
    parser.add_argument("--box", default=":,:,:")
    parser.add_argument("--surround", default=None, help="Z,Y,X; default: a quarter of the patch trained on")
    parser.add_argument("--min-size", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--only", default=";".join(ROWS), help='for example "8 mean;8 min"')
    parser.add_argument("--out", type=Path, default=None, help="keep the rows here as JSON; those there are not redone")
    given = parser.parse_args()
    if given.labels is None:
        print("give a checkpoint, an image and labels that it was not trained on")
        return
    if given.threads:
        torch.set_num_threads(given.threads)
    rows = json.loads(given.out.read_text()) if given.out and given.out.exists() else {}
    print("| views | adapted Rand error | at | VI | at | seconds |\n|---|---|---|---|---|---|", flush=True)
    for row in given.only.split(";"):
        if row not in rows:
            rows[row] = measure(given, row)
            if given.out:
                given.out.write_text(json.dumps(rows, indent=1))
        one = rows[row]
        print(
            f"| {row} | {one['adapted_rand_error']:.4f} | {one['threshold']:.3f} | {one['voi']:.3f} "
            f"| {one['voi_threshold']:.3f} | {one['seconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
