"""Know a model again by what is in it, not by what it is called."""

from __future__ import annotations

from hashlib import sha256

from neuropil.models.checkpoint import Model


def model_fingerprint(model: Model) -> str:
    """A digest of a model's weights and of the recipe part that gives them their meaning.

    >>> from torch import nn
    >>> from neuropil.config import Config
    >>> len(model_fingerprint(Model(nn.Conv3d(1, 3, 1), Config(), {})))
    64
    """
    digest = sha256(model.config.model.model_dump_json().encode())
    for name, value in sorted(model.network.state_dict().items()):
        array = value.detach().cpu().contiguous().float().numpy()
        digest.update(f"{name} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
