"""The whole way in one call: train → predict → segment → evaluate."""

from __future__ import annotations

from neuropil.config import Config, check_trainable


def check_volumes(config: Config) -> list[str]:
    """Check a recipe together with the volumes it names, as training would; a line on each volume.

    Raises:
        NeuropilError: what training needs is missing, unreadable or does not fit together.
    """
    from neuropil.training.batches import open_pair
    from neuropil.volumes import require_image, require_labels

    check_trainable(config)
    lines = []
    for name, pairs in (("train", config.data.train), ("validation", config.data.validation)):
        for index, pair in enumerate(pairs):
            opened = open_pair(pair)
            require_image(opened.image), require_labels(opened.labels)
            lines.append(f"data.{name}[{index}]  {opened.image.path}, box {opened.region()}")
    return lines
