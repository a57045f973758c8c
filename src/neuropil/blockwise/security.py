"""TLS for local Dask clusters, so that only the process that started the workers can send them tasks.

Dask's scheduler runs whatever is sent by anybody who can connect, and every user of a machine can connect to its ports.
So local clusters use TLS: both sides must show a certificate that is made for the run and lies in a folder that only
this user can read.
"""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Security


@contextmanager
def run_security() -> Iterator[Security | None]:
    """Certificates for one run, made by the command ``openssl`` or else by the package ``cryptography``, and deleted at
    its end. Without both there is no TLS, and a warning says what that means.
    """
    from distributed import Security

    with TemporaryDirectory(prefix="neuropil-tls-") as folder:  # only this user can open it
        certificate, key = Path(folder, "certificate.pem"), Path(folder, "key.pem")
        if _made(certificate, key):
            names = {f"tls_{role}_{part}": str(file) for role in ("client", "scheduler", "worker")
                     for part, file in (("cert", certificate), ("key", key))}  # fmt: skip
            yield Security(tls_ca_file=str(certificate), require_encryption=True, **names)
            return
        try:
            security: Security | None = Security.temporary()
        except ImportError:
            security = None
            warnings.warn(
                "neither the command openssl nor the package cryptography is here: while this runs, other users of "
                "this machine can send work to its workers",
                stacklevel=3,
            )
        yield security


def _made(certificate: Path, key: Path) -> bool:
    """Make a key and a self-signed certificate with openssl; returns whether that worked."""
    openssl = shutil.which("openssl")
    if openssl is None:
        return False
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    words = (openssl, "req", "-x509", *curve, "-nodes", "-sha256", "-days", "3650", "-subj", "/CN=neuropil")
    done = subprocess.run((*words, "-keyout", str(key), "-out", str(certificate)), capture_output=True, check=False)
    return done.returncode == 0 and key.exists() and certificate.exists()


def tell_open(scheduler: str) -> None:
    """Warn of a scheduler without TLS, which runs tasks from anybody who can connect."""
    if not scheduler.startswith("tls://"):
        warnings.warn(
            f"{scheduler} is not encrypted: whoever can connect to it can run code on its workers as their user; start "
            "it with TLS (docs/scaling.md) and give tls://…",
            stacklevel=3,
        )
