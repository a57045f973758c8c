"""Put a trained network into the package: its averaged weights, with the threshold that was tuned for it.

    python scripts/release.py outputs/shipped/checkpoints/last.pt snemi3d --threshold 0.21

Paths below $NEUROPIL_DATA are stored relative to it: where somebody keeps his data is nobody's business. The card
(``src/neuropil/models/weights/NAME.md``, beside the weights) is written by hand: scores are measured, not filled in.
"""

import argparse
import os
from pathlib import Path

from neuropil.config import Config
from neuropil.models.checkpoint import export_weights, load_model
from neuropil.models.released import WEIGHTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("name", help="what users will type")
    parser.add_argument("--threshold", type=float, required=True, help="chosen on validation sections by neuropil tune")
    arguments = parser.parse_args()
    config = load_model(arguments.checkpoint).config.to_dict()
    config["segment"]["threshold"] = arguments.threshold
    pairs = [*config["data"]["train"], *config["data"]["validation"], config["data"]["test"]]
    for pair in filter(None, pairs):
        for key in ("image", "labels", "mask"):
            pair[key] = pair[key] and relative(pair[key])
    path = WEIGHTS / f"{arguments.name}.safetensors"
    print(export_weights(arguments.checkpoint, path, config=Config.from_dict(config)))


def relative(path: str) -> str:
    """A path below the data folder, without that folder."""
    folder = os.environ.get("NEUROPIL_DATA", "").rstrip("/")
    return path.removeprefix(f"{folder}/") if folder else path


if __name__ == "__main__":
    main()
