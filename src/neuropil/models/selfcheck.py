"""Self-check of neuropil's convolution with AMX, in a separate process, since a fault may crash or hang it."""

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
"""Time limit of the other process; it normally takes 2 to 3 seconds, most of them to import torch."""

TOLERANCE = 0.02
"""Largest error relative to the norm of the float32 result; rounding to bfloat16 gives 0.002 to 0.004."""

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
    """Check bf16 convolutions in a new process; returns the fault, or an empty string if there is none.

    A passed check is stored on disk, by versions of torch and of the convolution's code, CPU, its instruction set in
    use and number of threads. A fault is remembered until this process ends.

    Args:
        command: the command to run; None: :func:`faults` in a new Python process.
        memory: file for passed checks; None: ``neuropil/selfcheck.json`` in the user's cache folder.
        seconds: time limit.
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
        # -P: otherwise a file in the current folder could be imported in place of a module.
        code = f"from neuropil.models.selfcheck import main; main({threads})"
        fault = _FAULTS[key] = _run([sys.executable, "-P", "-c", code], seconds, here.uses_amx)
    else:
        fault = _FAULTS[key]
    if not fault:
        _remember(file, key)
    return fault


_FAULTS: dict[str, str] = {}
"""Results of this process, since a check that hangs takes a minute each time."""


def _run(command: Sequence[str], seconds: float, with_amx: bool = False) -> str:
    """Run the check in another process; returns its fault, or an empty string."""
    # Fill freed memory with a pattern, so that reads beyond the end of an array change the result.
    environ = os.environ | {"MALLOC_PERTURB_": "128"}
    if with_amx:  # a limit that was set too late for this process must not apply to the other one
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
    """The file for passed checks; None if the user has no home folder."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return cache / "neuropil" / "selfcheck.json"


def main(threads: int) -> None:
    """Entry point of the other process: ends with exit code 1 and a message if there is a fault."""
    torch.set_num_threads(threads)
    wrong = list(faults())
    if wrong:
        sys.exit("; ".join(wrong))


def faults(cases: Sequence[tuple[int, int, int, int, Triple]] = CASES) -> Iterator[str]:
    """A line for each bfloat16 result of the convolution that is far from the float32 result.

    The inputs are rounded to bfloat16 for both, so that they compute with the same numbers.

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
    """Digest of the code that is checked."""
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
    """Store a passed check; if the file cannot be written, each process makes the check again."""
    if file is None:
        return
    temporary = file.with_name(f".{file.name}.{os.getpid()}.partial")
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps([*_remembered(file), key], indent=1), encoding="utf-8")
        temporary.replace(file)
