"""The runner of all blockwise work: runs lists of tasks one after another, and collects failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neuropil.blockwise.executor import Executor, Failure, Serial, Summary, Task
from neuropil.blockwise.job import Job, load_arrays, load_job, save_arrays
from neuropil.blockwise.tree import Node
from neuropil.errors import Unfinished
from neuropil.progress import ProgressCallback

BlockKey = tuple[str, Node]
"""A step and a block."""

BlockStep = Callable[[Any, Node], dict[str, Any]]
"""A step of a job for one block: reads files, returns arrays, which become one file."""


class BlocksFailed(Unfinished):
    """Some blocks failed, all others are done; the same call does only what is missing."""

    def __init__(self, failures: Sequence[Failure], done: int) -> None:
        shown = [f"  {failure}" for failure in failures[:20]]
        more = [f"  … and {len(failures) - 20} more"] if len(failures) > 20 else []
        head = f"failed blocks: {len(failures)}, steps done: {done}; correct the cause"
        super().__init__("\n".join([f"{head}, and the same command does only what is missing:", *shown, *more]))
        self.failures = list(failures)


class Runner:
    """Runs the tasks of one job.

    A task that needs the result of a failed one is left out; all others are done, so that little is missing once the
    cause is corrected.

    Args:
        executor: runs the tasks; this process when not given.
        progress: called after each task.

    >>> runner = Runner()
    >>> runner.run([Task(lambda n: {"voxels": n}, (5,), "count", "0:1,0:1,0:5", ("count", (0, 0)))])
    >>> runner.run([Task(lambda: {}, (), "use", "0:1,0:1,0:5", ("use", (0, 0)), needs=[("count", (0, 0))])])
    >>> runner.done, runner.failures
    (2, [])
    """

    def __init__(self, executor: Executor | None = None, progress: ProgressCallback | None = None) -> None:
        self.executor, self.progress = executor or Serial(), progress
        self.failures: list[Failure] = []
        self.missing: set[BlockKey] = set()
        self.done = 0

    def run(self, tasks: Iterable[Task], after: Callable[[Task, Summary], None] | None = None) -> None:
        """Do the tasks of one step, in any order.

        Args:
            tasks: those that need a missing result are left out.
            after: called in this process with each finished task and its summary.
        """
        ready = []
        for task in tasks:
            if self.missing.isdisjoint(task.needs):
                ready.append(task)
            else:
                self.missing.add(task.key)
        for count, (task, outcome) in enumerate(self.executor.run(ready), 1):
            if isinstance(outcome, Failure):
                self.failures.append(outcome)
                self.missing.add(task.key)
            else:
                self.done += 1
                if after is not None:
                    after(task, outcome)
            if self.progress is not None:
                self.progress(task.name, count, len(ready))

    def run_all(self, lists: Iterable[list[Task]], after: Callable[[Task, Summary], None] | None = None) -> None:
        """Do lists of tasks one after another.

        Raises:
            BlocksFailed: tasks failed; all that does not depend on them is done.
        """
        for tasks in lists:
            self.run(tasks, after)
        if self.failures:
            raise BlocksFailed(self.failures, self.done)


def tasks_of(
    job: Job,
    name: str,
    step: BlockStep,
    level: int,
    label: str,
    needs: Callable[[Node], Iterable[BlockKey]] = lambda node: (),
) -> list[Task]:
    """A step of a job for all blocks of one level of its tree.

    Args:
        job: saved in its folder.
        name: of the step, and of its files.
        step: a function at the top level of a module, since other processes import it.
        level: of the tree of blocks; 0 is the smallest blocks.
        label: name of the step in progress and errors.
        needs: the steps and blocks whose files a block reads and which may have failed.
    """
    nodes = [(level, index) for index in range(job.tree.count(level))]
    return [
        Task(perform, (type(job), job.folder, name, step, node), label, str(job.place(node)), (name, node), needs(node))
        for node in nodes
    ]


def children_of(job: Job, name: str) -> Callable[[Node], Iterable[BlockKey]]:
    """What a step upwards needs: its own results for the children of a block."""
    return lambda node: [(name, child) for child in job.tree.children(node)] if node[0] else []


def perform(kind: type[Job], folder: str, name: str, step: BlockStep, node: Node) -> Summary:
    """Run a step for a block, unless its file exists already.

    The arrays that the step returns become the file. Two entries do not: ``edges``, a count for the summary, and
    ``used``, files that are removed then. The summary holds the number of completed segments (``done``) and of edges.
    """
    job: Job = load_job(kind, folder)
    path = job.file(name, node)
    if not path.exists():
        found = step(job, node)
        counts = [len(found.get("done", ())), int(found.pop("edges", 0))]
        used: Sequence[Path] = found.pop("used", ())
        save_arrays(path, {**found, "summary": np.array(counts, np.int64)})
        for file in used:
            file.unlink(missing_ok=True)
    (summary,) = load_arrays(path, "summary")
    return {"segments": int(summary[0]), "edges": int(summary[1])}
