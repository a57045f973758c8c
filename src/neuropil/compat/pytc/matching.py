"""Check that a trained network fits the configuration that predicts with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from neuropil.config import Config
from neuropil.config.networks import CLASSIC
from neuropil.errors import NeuropilError
from neuropil.models.checkpoint import Model
from neuropil.volumes.zoom import Factors

_SAME = {
    "architecture": "MODEL.ARCHITECTURE",
    "unetr": "MODEL.HIDDEN_SIZE and the like",
    "swin_unetr": "MODEL.SWIN_UNETR_FEATURE_SIZE and the like",
    **dict.fromkeys(CLASSIC, "MODEL.FILTERS, ISOTROPY, BLOCK_TYPE, NORM_MODE, ACT_MODE and the like"),
    "offsets": "MODEL.TARGET_OPT",
}


def predictable(model: Model, config: Config, checkpoint: Path, zoom: Factors = (1, 1, 1)) -> Model:
    """The model with the ``predict`` section of a configuration, which must describe the same network; images are
    resampled by ``zoom``.

    Raises:
        NeuropilError: the checkpoint holds another network; the error names the first key that differs.

    >>> from neuropil.models import build_network
    >>> model = Model(build_network(Config().model), Config(), {})
    >>> predictable(model, Config.from_dict({"predict": {"tta": 4}}), Path("a.pth")).config.predict.tta
    4
    """
    for name, theirs in _SAME.items():
        trained, asked = (_comparable(getattr(one.model, name)) for one in (model.config, config))
        if trained != asked:
            raise NeuropilError(
                f"{theirs}: {checkpoint} holds another network: expected model.{name} {trained}, got {asked}; give the "
                "configuration that it was trained with"
            )
    data = model.config.data.model_copy(update={"zoom": zoom})
    return replace(model, config=model.config.model_copy(update={"predict": config.predict, "data": data}))


def _comparable(value: Any) -> Any:
    """A setting without what may differ: UNETR's grid (positions are interpolated), and synchronised batch norms."""
    if not isinstance(value, BaseModel):
        return value
    said = value.model_dump(exclude={"grid"})
    return {**said, "norm": "batch"} if said.get("norm") == "sync_batch" else said
