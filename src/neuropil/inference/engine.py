"""Run a network on a batch of tiles: device, precision, memory layout, test-time augmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from neuropil.augment import to_unit
from neuropil.choices import TtaMode
from neuropil.errors import NeuropilError
from neuropil.geometry import NEAREST, Offsets, Triple
from neuropil.inference.symmetries import combine_views

DAMAGED = "the network returned NaN for this image; its weights are damaged or training diverged"


@dataclass(frozen=True)
class Engine:
    """A network with device, precision and test-time augmentation.

    >>> twice = Engine(lambda image: image.expand(-1, 3, -1, -1, -1), NEAREST, NEAREST, logits=False)
    >>> tuple(twice.affinities(torch.rand(2, 4, 5, 6)).shape)
    (2, 3, 4, 5, 6)
    """

    network: Callable[[Tensor], Tensor]
    """float ``[B, 1, Z, Y, X]`` in [0, 1] → ``[B, E, Z, Y, X]``; a module or any function."""
    offsets: Offsets
    """The offset of each channel of the network."""
    keep: Offsets
    """The offsets to predict."""
    tta: int = 1
    mode: TtaMode = "mean"
    logits: bool = True
    """Whether the network returns logits, as neuropil's do; else probabilities."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    bf16: bool = False
    """Compute convolutions in bfloat16; the last sigmoid is always float32."""

    def __post_init__(self) -> None:
        lost = [o for o in self.keep if o not in self.offsets and tuple(-n for n in o) not in self.offsets]
        if lost:
            raise NeuropilError(f"expected offsets that the network predicts ({self.offsets}), got {tuple(lost)}")

    @torch.inference_mode()
    def affinities(self, image_BZYX: Tensor) -> Tensor:
        """Affinities of a batch of tiles, all views combined: float32 ``[B, len(keep), Z, Y, X]``, on the device.

        Args:
            image_BZYX: float in [0, 1], or whole numbers that fill their type.

        Raises:
            NeuropilError: the network returned another shape or, on a CPU, NaN.
        """
        image = self.shown(image_BZYX)
        found = combine_views(image, self._probabilities, self.offsets, self.keep, self.tta, self.mode)
        self.check(found)
        return found

    def shown(self, image_BZYX: Tensor) -> Tensor:
        """A batch of tiles on the device, float in [0, 1]."""
        image = image_BZYX.to(self.device, non_blocking=True)
        return image if image.is_floating_point() else to_unit(image)

    def check(self, found: Tensor) -> None:
        """Refuse NaN, on a CPU only. On a GPU finished cells are checked instead, since a check here would wait."""
        if found.device.type == "cpu" and not bool(torch.isfinite(found.sum())):  # probabilities cannot overflow
            raise NeuropilError(DAMAGED)

    def _probabilities(self, image_BZYX: Tensor, channels: Sequence[int]) -> Tensor:
        image = image_BZYX.unsqueeze(1).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            out = self.network(image)
        expected = (len(image), len(self.offsets), *image.shape[2:])
        if tuple(out.shape) != expected:
            raise NeuropilError(f"expected a network output of shape {expected}, got {tuple(out.shape)}")
        chosen = out if list(channels) == list(range(out.shape[1])) else out[:, list(channels)]
        wanted = chosen.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
        return wanted.sigmoid_() if self.logits else wanted


def kept_offsets(offsets: Offsets, keep: str | Offsets) -> Offsets:
    """The offsets to keep, by name: ``nearest``, the three (of either sign) that segmentation uses, or ``all``.

    Raises:
        NeuropilError: another name, or no nearest edge along some axis.

    >>> kept_offsets(((0, -1, 0), (1, 0, 0), (0, 0, -1), (0, -9, 0)), "nearest")
    ((1, 0, 0), (0, -1, 0), (0, 0, -1))
    """
    if not isinstance(keep, str):
        return keep
    if keep == "all":
        return offsets
    if keep != "nearest":
        raise NeuropilError(f"expected nearest, all or a list of offsets to keep, got {keep!r}")
    found: list[Triple] = []
    for z, y, x in NEAREST:
        ends = [o for o in ((z, y, x), (-z, -y, -x)) if o in offsets]
        if not ends:
            raise NeuropilError(f"the network predicts no nearest edge {z, y, x} ({offsets}); keep all of its offsets")
        found.append(ends[0])
    return tuple(found)


def choose_device(name: str) -> torch.device:
    """The device of a name: ``cpu``, ``cuda``, ``cuda:1`` … or ``auto``, a GPU if there is one.

    Raises:
        NeuropilError: another name, or no such GPU.

    >>> choose_device("cpu").type
    'cpu'
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise NeuropilError(f"expected a device of auto, cpu, cuda or cuda:N, got {name!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise NeuropilError(f"device {name!r} was asked for, but {torch.cuda.device_count()} GPUs are visible; use cpu")
    return device


def choose_devices(name: str, count: int = 1) -> tuple[torch.device, ...]:
    """The devices that share the tiles: the device of that name, or ``count`` GPUs from it on.

    Raises:
        NeuropilError: no such device, or fewer GPUs than asked for.

    >>> len(choose_devices("cpu"))
    1
    """
    first = choose_device(name)
    if count == 1:
        return (first,)
    visible = torch.cuda.device_count() - (first.index or 0) if first.type == "cuda" else 0
    if not 1 <= count <= visible:
        raise NeuropilError(
            f"expected from 1 to {max(visible, 1)} devices, got --devices {count}: "
            f"{visible} GPUs are there from device {name!r} on, and a processor counts as one"
        )
    return tuple(torch.device("cuda", (first.index or 0) + n) for n in range(count))
