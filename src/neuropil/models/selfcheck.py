"""A self-check of our convolution with AMX, in another process, since faults may crash it or never end."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import torch

from neuropil.geometry import Triple
from neuropil.models import convolution
from neuropil.models.convolution import Convolution
from neuropil.processor import LIMITS, processor_name, this_processor

SECONDS = 60.0
"""After so long the other process counts as hanging; it takes 2 to 3, most of them to import torch."""

TOLERANCE = 0.02
"""Largest error, relative to the norm of what float32 gives; rounding to bfloat16 makes 0.002 to 0.004."""

CASES: tuple[tuple[int, int, int, int, Triple], ...] = (
    (1, 12, 1, 64, (3, 3, 3)),
    (2, 32, 1, 64, (1, 3, 3)),
    (2, 32, 4, 64, (3, 3, 3)),
    (2, 16, 8, 80, (1, 3, 3)),
    (2, 24, 2, 64, (3, 3, 3)),
    (2, 32, 4, 64, (1, 1, 1)),
)
"""Batch, channels, depth, height and kernel: shapes on which the plain convolution was wrong, crashed or hung."""


def amx_fault(command: Sequence[str] | None = None, memory: Path | None = None, seconds: float = SECONDS) -> str:
    """What is wrong with our bf16 convolutions in a new process like this one; empty where they are right.

    That they are right is remembered, by torch's and our version, processor, its instructions in use and threads; what
    is wrong, until this process ends.

    Args:
        command: what to run; None: :func:`faults` in a Python of its own.
        memory: where to remember it; None: ``neuropil/selfcheck.json`` in the user's cache, if there is one.
        seconds: how long to wait.
    """
    threads = torch.get_num_threads()
    here = this_processor()
    key = "; ".join((torch.__version__, _digest(), processor_name(), here.isa, f"{threads} threads"))
    file = memory or _memory()
    if key in _remembered(file):
        return ""
    if command is not None:
        fault = _run(command, seconds)
    elif key not in _FAULTS:
        # Without -P a file of the current folder could take the place of a module.
        code = f"from neuropil.models.selfcheck import main; main({threads})"
        fault = _FAULTS[key] = _run([sys.executable, "-P", "-c", code], seconds, here.uses_amx)
    else:
        fault = _FAULTS[key]
    if not fault:
        _remember(file, key)
    return fault


_FAULTS: dict[str, str] = {}
"""What was found in this process, which a hanging check would stop for a minute each time."""


def _run(command: Sequence[str], seconds: float, with_amx: bool = False) -> str:
    """What another process says of our convolutions; empty where it ends well."""
    # Where memory is not clean, what is read beyond its end is seen.
    environ = os.environ | {"MALLOC_PERTURB_": "128"}
    if with_amx:  # a limit that came too late for this process would hold for that one
        environ = {name: value for name, value in environ.items() if name not in LIMITS}
    try:
        done = subprocess.run(
            command, env=environ, capture_output=True, encoding="utf-8", errors="replace", timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return f"it did not end in {seconds:g} s"
    except OSError as error:
        return f"it did not start ({error.strerror})"
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        return ": ".join([f"it ended with exit code {done.returncode}", *said])
    return ""


def _memory() -> Path | None:
    """The file that remembers; None where the user has no home."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return cache / "neuropil" / "selfcheck.json"


def main(threads: int) -> None:
    """The other process: exit code 1, and what is wrong, where something is."""
    torch.set_num_threads(threads)
    wrong = list(faults())
    if wrong:
        sys.exit("; ".join(wrong))


def faults(cases: Sequence[tuple[int, int, int, int, Triple]] = CASES) -> Iterator[str]:
    """Each result of our convolution in bfloat16 that is far from that of float32 on the same numbers.

    Both are given numbers that bfloat16 holds, so that a sum that is nearly zero is one in both.

    >>> list(faults([(1, 4, 2, 8, (3, 3, 3))]))
    []
    """
    for batch, channels, depth, height, kernel in cases:
        torch.manual_seed(0)
        own = Convolution(channels, channels, kernel).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        for part in own.parameters():
            part.data = part.data.bfloat16().float()
        image = torch.randn(batch, channels, depth, height, height).bfloat16().float()
        image = image.contiguous(memory_format=torch.channels_last_3d)
        names = ("output", "gradient of the input", "gradient of the weight", "gradient of the bias")
        right, found = (_results(own, image, dtype) for dtype in (torch.float32, torch.bfloat16))
        for name, one, other in zip(names, found, right, strict=True):
            error = float((one - other).norm() / other.norm())
            if not error <= TOLERANCE:  # NaN is wrong, too
                shape = "×".join(map(str, (batch, channels, depth, height, height)))
                yield f"{name} of kernel {kernel} on {shape}: relative error {error:.3g}"


def _results(own: Convolution, image: torch.Tensor, dtype: torch.dtype) -> list[torch.Tensor]:
    """Output and gradients of input, weight and bias."""
    x = image.clone().requires_grad_()
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        out = own(x)
    look = (torch.linspace(0.5, 9, out.numel()).cos().reshape(out.shape) + 0.1).bfloat16().float()
    gradients = torch.autograd.grad((out.float() * look).sum(), [x, *own.parameters()])
    return [part.detach().float() for part in (out, *gradients)]


def _digest() -> str:
    """Of the code that was checked."""
    return hashlib.sha256(Path(convolution.__file__).read_bytes()).hexdigest()[:12]


def _remembered(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    return found if isinstance(found, list) else []


def _remember(file: Path | None, key: str) -> None:
    """Add a line; where nothing can be written, each process makes the check."""
    if file is None:
        return
    temporary = file.with_name(f".{file.name}.{os.getpid()}.partial")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps([*_remembered(file), key], indent=1), encoding="utf-8")
        temporary.replace(file)
