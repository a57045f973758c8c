"""Put a trained network into the package: averaged weights in 16 bits, and the recipe that says what goes with them.

    python scripts/release.py outputs/gpu/checkpoints/last.pt snemi3d configs/snemi3d/gpu.yaml

What users get by default is what the recipe says: ``segment.threshold`` and ``segment.min_size``, ``predict.tta``,
``data.voxel_size``. ``benchmarks/symmetries.py`` measures the first three. The card beside the weights,
``src/neuropil/models/weights/NAME.md``, is written by hand: scores are measured, not filled in.
Paths below $NEUROPIL_DATA are stored relative to it.
"""

import argparse
import os
from pathlib import Path

from neuropil.config import Config, load_config
from neuropil.errors import NeuropilError
from neuropil.models.checkpoint import export_weights, load_model
from neuropil.models.released import WEIGHTS, released_models
from neuropil.volumes import open_volume
from neuropil.volumes.grey import GreyValues, scaled_image

LARGEST = 20_000_000
"""Bytes that all models of the package may take together."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("name", help="what users will type")
    parser.add_argument("recipe", nargs="+", help="what it was trained by, with threshold, minimum size and symmetries")
    given = parser.parse_args()
    path = WEIGHTS / f"{given.name}.safetensors"
    config = recipe_to_store(given.recipe, load_model(given.checkpoint).config)
    info = {"name": given.name, **grey_of(load_config(given.recipe)).to_info()}
    export_weights(given.checkpoint, path, config=config, info=info, compact=True)
    total = sum((WEIGHTS / f"{name}.safetensors").stat().st_size for name in released_models())
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB; all models together {total / 1e6:.1f} of {LARGEST / 1e6:g} MB")
    if total > LARGEST:
        raise SystemExit("too large for the package: take a smaller network")


def recipe_to_store(recipe: list[str], trained: Config) -> Config:
    """The recipe as the file will hold it: checked against the checkpoint, without the folder of somebody's data."""
    config = load_config(recipe)
    if config.model != trained.model:
        raise NeuropilError(f"model: expected the network of the checkpoint, got another one, in {', '.join(recipe)}")
    if config.segment.threshold is None or config.data.voxel_size is None:
        raise NeuropilError(f"expected segment.threshold and data.voxel_size, which go with the model, in {recipe[-1]}")
    values = config.to_dict()
    for pair in filter(None, [*values["data"]["train"], *values["data"]["validation"], values["data"]["test"]]):
        for key in ("image", "labels", "mask"):
            pair[key] = pair[key] and relative(pair[key])
    return Config.from_dict(values)


def grey_of(recipe: Config) -> GreyValues:
    """What the training volumes look like: prediction warns of images that look otherwise."""
    scale = recipe.data.intensity.scale
    return GreyValues.mean([GreyValues.of(scaled_image(open_volume(pair.image), scale)) for pair in recipe.data.train])


def relative(path: str) -> str:
    """A path below the data folder, without that folder."""
    folder = os.environ.get("NEUROPIL_DATA", "").rstrip("/")
    return path.removeprefix(f"{folder}/") if folder else path


if __name__ == "__main__":
    main()
