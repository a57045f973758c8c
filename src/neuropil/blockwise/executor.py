"""Executors run tasks, in this process or on a Dask cluster. They pass names and small tables, never voxels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from neuropil.blockwise.security import run_security, tell_open
from neuropil.errors import NeuropilError, Unfinished

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster, Security

TRIES = 3
"""How often a block is tried before it counts as failed."""

KILLS = 20
"""How many workers may die during a block, for whatever reason, before it counts as failed."""

NO_WORKERS = 120.0
"""Seconds without any worker after which a run on a local cluster fails."""

MOST_WORKERS = 1024
"""Processes that a run may start on this machine."""

CHECK = 5.0
"""Seconds between two checks of the cluster."""

CONNECT = 20.0
"""Seconds that a scheduler of others has to answer."""

CLOSE = 30.0
"""Seconds that a local cluster has to close; after that its processes end with this one."""

MALLOC = {"MALLOC_TRIM_THRESHOLD_": 1 << 30, "MALLOC_MMAP_THRESHOLD_": 1 << 25, "MALLOC_ARENA_MAX": 1}
"""Settings of glibc in new workers: memory that a block has freed is kept for the next one. Dask's own settings return
it to the system at once, and getting it back page by page costs a fifth of the time."""

LOCAL_SETTINGS = {
    "distributed.scheduler.allowed-failures": KILLS,
    "distributed.deploy.lost-worker-timeout": f"{NO_WORKERS} s",
    "distributed.logging.distributed": "error",
    # Dask would pause a worker until its memory is returned to the system, which never happens: see MALLOC.
    **{f"distributed.worker.memory.{limit}": False for limit in ("target", "spill", "pause")},
    **{f"distributed.nanny.pre-spawn-environ.{key}": value for key, value in MALLOC.items()},
}
"""Dask's configuration while a local cluster runs; workers that are restarted read it, too."""

SCHEDULER_LOST = "the scheduler is gone; with another one the same command does only what is missing"

Summary = dict[str, int]
"""What a finished task returns: a few numbers."""


@dataclass(frozen=True)
class Task:
    """A step for one block: ``call(*arguments)``, all of it small.

    Args:
        call: a function that other processes can import.
        arguments: what it is called with.
        name: of the step, as progress and the dashboard show it.
        place: the block's box, as errors name it.
        key: the step and the block; no other task of a run has the same.
        needs: keys of the tasks whose results this one reads and which may have failed.
    """

    call: Callable[..., Summary]
    arguments: tuple[Any, ...]
    name: str
    place: str
    key: tuple[str, tuple[int, int]]
    needs: Iterable[tuple[str, tuple[int, int]]] = ()

    @property
    def node(self) -> tuple[int, int]:
        """The block: its level in the tree and its number there."""
        return self.key[1]


@dataclass(frozen=True)
class Failure:
    """A block that could not be done."""

    task: Task
    error: str

    def __str__(self) -> str:
        return f"{self.task.name} of block {self.task.place}: {self.error}"


class Executor(Protocol):
    """Runs tasks in any order; yields each with its summary or failure."""

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Summary | Failure]]: ...


class Serial:
    """One block after another, in this process.

    >>> task = Task(lambda n: {"voxels": n}, (5,), "count", "0:1,0:1,0:5", ("count", (0, 0)))
    >>> [summary for _, summary in Serial().run([task])]
    [{'voxels': 5}]
    """

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Summary | Failure]]:
        """Do the tasks in order."""
        for task in tasks:
            for tried in range(1, TRIES + 1):
                try:
                    yield task, task.call(*task.arguments)
                    break
                except Exception as error:
                    if tried == TRIES or isinstance(error, NeuropilError):
                        yield task, Failure(task, describe(error))
                        break


class Cluster:
    """The workers of a Dask cluster. When a worker dies, another one does its block again.

    Args:
        client: a connected client.
        resources: what each task takes of a worker's resources, such as ``{"GPU": 1}``.
        local: whether this program started the workers. It then restarts those that died, and raises an error if there
            is none for ``NO_WORKERS`` seconds.
    """

    def __init__(self, client: Client, resources: dict[str, float] | None = None, *, local: bool = False) -> None:
        self.client, self.resources, self.local = client, resources, local
        self.alive = self.checked = time.monotonic()

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, Summary | Failure]]:
        """Do the tasks; only some are handed to the scheduler at a time, however many there are."""
        waiting = iter(tasks)
        ended: SimpleQueue[Future[Any]] = SimpleQueue()
        known: dict[Any, tuple[Task, int]] = {}
        tries: dict[str, int] = {}
        kills: dict[str, int] = {}
        self.alive = time.monotonic()

        def submit(task: Task, attempt: int) -> None:
            future = self._submit(task, attempt)
            known[future.key] = (task, attempt)
            future.add_done_callback(ended.put)

        for task in islice(waiting, self._queue_length()):
            submit(task, 0)
        while known:
            future = self._next(ended)
            task, attempt = known.pop(future.key)
            outcome = _outcome(future)
            if isinstance(outcome, TimeoutError) and future.status != "error":
                # Its worker died before the summary was fetched; the file is there already.
                submit(task, attempt + 1)
                continue
            if isinstance(outcome, BaseException):
                died = type(outcome).__name__ in ("KilledWorker", "CancelledError", "FutureCancelledError")
                count = kills if died else tries
                count[task.place] = count.get(task.place, 0) + 1
                if count[task.place] < (KILLS if died else TRIES):
                    submit(task, attempt + 1)
                    continue
            for following in islice(waiting, 1):
                submit(following, 0)
            yield task, Failure(task, describe(outcome)) if isinstance(outcome, BaseException) else outcome

    def _submit(self, task: Task, attempt: int) -> Future[Any]:
        # The part of a key before the first dash is what the dashboard groups by.
        key = (
            f"{task.name.replace(' ', '_').replace('-', '_')}-{task.node[0]}.{task.node[1]}-{attempt}-{time.time_ns()}"
        )
        try:
            return self.client.submit(task.call, *task.arguments, key=key, pure=False, resources=self.resources)
        except Exception as error:
            if self.client.status == "running":
                raise
            raise Unfinished(SCHEDULER_LOST) from error

    def _queue_length(self) -> int:
        """How many tasks may be with the scheduler: enough that no worker waits."""
        threads: int = sum(self.client.nthreads().values())
        return max(4 * threads, 16)

    def _next(self, ended: SimpleQueue[Future[Any]]) -> Future[Any]:
        """Wait for the next future that has ended."""
        while True:
            if time.monotonic() > self.checked + CHECK:
                self._check_workers()
                self.checked = time.monotonic()
            with suppress(Empty):
                return ended.get(timeout=CHECK)

    def _check_workers(self) -> None:
        """Restart workers that Dask no longer restarts itself, such as those that died while starting.

        Raises:
            Unfinished: no worker for ``NO_WORKERS`` seconds, or no scheduler.
        """
        if self.client.status in ("closing", "closed"):
            raise Unfinished(SCHEDULER_LOST)
        if not self.local:
            return
        cluster: Any = self.client.cluster
        for name, nanny in list(cluster.workers.items()):
            if nanny.status.name in ("closed", "failed"):
                del cluster.workers[name]
        cluster.scale(len(cluster.worker_spec))
        if self.client.nthreads():
            self.alive = time.monotonic()
        elif time.monotonic() > self.alive + NO_WORKERS:
            raise Unfinished("all workers are gone and do not come back; is there enough memory?")


def _outcome(future: Future[Any]) -> Summary | BaseException:
    try:
        summary: Summary = future.result(timeout=CHECK)
        return summary
    except Exception as error:
        return error
    except BaseException as error:  # Dask's CancelledError is no Exception
        if type(error).__name__ in ("CancelledError", "FutureCancelledError"):
            return error
        raise


def describe(error: BaseException) -> str:
    """An error in one line, with its type if it is not a NeuropilError."""
    text = " ".join(str(error).split())[:500]
    return text if isinstance(error, NeuropilError) else f"{type(error).__name__}: {text}"


@contextmanager
def open_executor(
    workers: int | None = None, scheduler: str | None = None, resources: dict[str, float] | None = None
) -> Iterator[Executor]:
    """Open an executor: new local workers, the workers of a running scheduler, or this process if neither is given.

    Raises:
        NeuropilError: both given, fewer than 1 or more than 1024 workers, no such scheduler, or Dask is not installed.

    >>> with open_executor() as executor:
    ...     type(executor).__name__
    'Serial'
    """
    if workers is None and scheduler is None:
        yield Serial()
        return
    if workers is not None and scheduler is not None:
        raise NeuropilError("expected --workers (new local ones) or --scheduler (a running cluster), got both")
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise NeuropilError(f"expected from one to {MOST_WORKERS} workers on this machine, got {workers}")
    try:
        import dask
        from distributed import Client
    except ImportError:
        raise NeuropilError('work on several processes needs Dask: pip install "neuropil[scale]"') from None
    if scheduler is not None:
        tell_open(scheduler)
        try:
            client = Client(scheduler, timeout=CONNECT)
        except (OSError, ValueError, TimeoutError, TypeError) as error:  # the last: no certificate is configured
            raise NeuropilError(f"expected a running Dask scheduler at {scheduler}: {describe(error)}") from None
        with client:
            print(f"dashboard: {client.dashboard_link}", flush=True)
            yield Cluster(client, resources)
        return
    with dask.config.set(LOCAL_SETTINGS), run_security() as security:
        cluster = local_cluster(workers or 1, resources, security=security)
        client = Client(cluster, security=security)
        try:
            print(f"dashboard: {client.dashboard_link}", flush=True)
            yield Cluster(client, resources, local=True)
        finally:
            for part in (client, cluster):
                with suppress(TimeoutError, AssertionError):  # Dask asserts how its workers ended
                    part.close(timeout=CLOSE)


def local_cluster(
    workers: int,
    resources: dict[str, float] | None = None,
    memory_limit: str = "auto",
    security: Security | None = None,
) -> LocalCluster:
    """A Dask cluster of new processes on this machine; if one dies while it starts, all are started again.

    Raises:
        Unfinished: workers cannot be started after ``TRIES`` attempts.
    """
    from distributed import LocalCluster

    for tried in range(1, TRIES + 1):
        try:
            return LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", resources=resources,
                silence_logs=50, memory_limit=memory_limit, security=security,
                protocol=None if security is None else "tls://",
            )  # fmt: skip
        except RuntimeError as error:
            if tried == TRIES:
                raise Unfinished(f"no workers can be started: {describe(error)}") from error
    raise AssertionError
