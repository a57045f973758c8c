"""Sharded files, read again by TensorStore."""

import numpy as np
import pytest
import tensorstore as ts

from neuropil.proofreading.sharded import Item, write_sharded


@pytest.mark.parametrize("ids", [
    [1], [64], [5, 6, 63, 64, 65, 127, 128], list(range(1, 20000, 7)), [3, 2**20, 2**40 + 5, 2**63 + 1], []
])  # fmt: skip
def test_every_object_is_found_and_no_other(ids, tmp_path):
    rng = np.random.default_rng(0)
    items = [Item(i, rng.bytes(int(rng.integers(1, 40))), rng.bytes(int(rng.integers(0, 9)))) for i in ids]
    spec = write_sharded(tmp_path, iter(items), max(ids, default=0))
    store = ts.KvStore.open(
        {"driver": "neuroglancer_uint64_sharded", "metadata": spec, "base": f"file://{tmp_path}/"}
    ).result()
    for item in items:
        assert store[item.id.to_bytes(8, "big")] == item.content
    if spec["shard_bits"] < 10:  # a list asks for every possible shard
        assert sorted(int.from_bytes(key, "big") for key in store.list().result()) == ids
    assert len(list(tmp_path.iterdir())) == len({i >> (6 + spec["minishard_bits"]) for i in ids})
    assert all(path.name == path.name.lower() for path in tmp_path.iterdir())


def test_what_stands_before_an_object(tmp_path):
    write_sharded(tmp_path, [Item(7, b"manifest", b"fragments"), Item(9, b"other", b"more")], 9)
    assert b"fragmentsmanifestmoreother" in (tmp_path / "0.shard").read_bytes()
