"""The runner does all that can be done, leaves out what needs something that failed, and says so."""

import numpy as np
import pytest

from neuropil import NeuropilError
from neuropil.blockwise import BlocksFailed
from neuropil.blockwise.executor import Task
from neuropil.blockwise.job import Job, load_arrays
from neuropil.blockwise.runner import Runner, children_of, tasks_of


def done(step, number):
    return {"segments": number}


def fails(step, number):
    raise NeuropilError(f"{step} {number} cannot be read")


def task(step, number, needs=(), call=done):
    return Task(call, (step, number), step, f"block {number}", (step, (0, number)), needs)


def test_what_needs_a_failed_task_is_left_out_and_the_rest_is_done():
    told, seen = [], []
    runner = Runner(progress=lambda *state: told.append(state))
    first = [task("read", 0), task("read", 1, call=fails), task("read", 2)]
    second = [task("add", n, [("read", (0, n))]) for n in range(3)]
    third = [task("use", n, [("add", (0, n)), ("add", (0, 2))]) for n in range(3)]
    with pytest.raises(BlocksFailed, match="read of block block 1: read 1 cannot be read") as caught:
        runner.run_all([first, second, third], lambda task, summary: seen.append((task.name, summary["segments"])))
    assert len(caught.value.failures) == 1, "what was left out is not told as failed"
    assert "steps done: 6" in str(caught.value)
    assert seen == [(step, n) for step in ("read", "add", "use") for n in (0, 2)]
    assert told == [*(("read", n, 3) for n in (1, 2, 3)), *((step, n, 2) for step in ("add", "use") for n in (1, 2))]


def test_nothing_is_raised_where_all_is_done():
    Runner().run_all([[task("read", 0)], []])


def add_up(job, node):
    below = [load_arrays(job.file("sum", child), "value")[0] for child in job.tree.children(node)] if node[0] else []
    used = [job.file("sum", child) for child in job.tree.children(node)] if node[0] else []
    return {"value": sum(below, np.array(node[1])), "done": np.arange(node[1]), "edges": 5, "used": used}


def test_a_step_leaves_one_file_for_each_block_and_removes_what_it_used(tmp_path):
    job = Job(str(tmp_path), (1, 1, 6), (1, 1, 2))
    job.save()
    counts = {}

    def keep(task, summary):
        counts[task.node] = summary

    levels = [
        tasks_of(job, "sum", add_up, level, f"adding, level {level}", children_of(job, "sum"))
        for level in range(job.tree.levels)
    ]
    Runner().run_all(levels, keep)
    assert load_arrays(job.file("sum", job.tree.root), "value") == [0 + (0 + 0 + 1) + (1 + 2)]
    assert [path.name for path in sorted(tmp_path.rglob("*.npz"))] == ["000.npz"], "only the root's is left"
    assert counts[(0, 2)] == {"segments": 2, "edges": 5}
    before = job.file("sum", job.tree.root).stat().st_mtime_ns
    Runner().run(levels[-1])
    assert job.file("sum", job.tree.root).stat().st_mtime_ns == before, "what is there is not done again"
