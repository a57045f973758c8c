"""Nobody else can give work to the workers of a run."""

import asyncio
import shutil
import ssl
import warnings
from pathlib import Path

import pytest
from distributed import Client, Security
from distributed.comm import connect

from neuropil import NeuropilError
from neuropil.blockwise import executor
from neuropil.blockwise.executor import Task, open_executor
from neuropil.blockwise.security import run_security
from reference.cluster_tasks import count


def test_workers_take_work_only_from_who_has_the_certificate_of_the_run(tmp_path):
    with open_executor(workers=1) as executor:
        address = executor.client.scheduler_info()["address"]
        assert address.startswith("tls://127.0.0.1:")
        ((_, summary),) = executor.run([Task(count, (str(tmp_path), 4), "count", "0:1", ("count", (0, 0)))])
        assert summary == {"number": 4}
        place = address.removeprefix("tls://")
        certificate = Path(executor.client.security.tls_ca_file)
        assert certificate.parent.stat().st_mode & 0o077 == 0
        with pytest.raises(OSError, match=r"reset|connect|Timed out"):
            Client(f"tcp://{place}", timeout="2s")
        with run_security() as other, pytest.raises((OSError, ssl.SSLError)):
            Client(address, security=other, timeout="2s")
        worker = next(iter(executor.client.scheduler_info()["workers"]))
        assert worker.startswith("tls://")

        async def bare():
            comm = await connect(f"tcp://{worker.removeprefix('tls://')}", timeout=2)
            await comm.write({"op": "identity", "reply": True})
            return await comm.read()

        with pytest.raises(OSError, match=r"reset|closed|connect"):
            asyncio.run(bare())
    assert not certificate.exists()


def test_without_openssl_and_cryptography_a_warning_says_so(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(Security, "temporary", lambda: (_ for _ in ()).throw(ImportError()))
    with pytest.warns(UserWarning, match="other users of this machine"), run_security() as security:
        assert security is None


def test_a_plain_address_is_warned_of(monkeypatch):
    monkeypatch.setattr(executor, "CONNECT", 0.5)

    def begin(scheduler):
        with open_executor(scheduler=scheduler):
            pass

    with pytest.warns(UserWarning, match="is not encrypted"), pytest.raises(NeuropilError, match="running Dask"):
        begin("tcp://127.0.0.1:9")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NeuropilError, match="running Dask"):
            begin("tls://127.0.0.1:9")
