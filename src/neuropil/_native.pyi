# Written by src/native/stubs.py from the bindings in src/native; shapes are in the bindings.
from collections.abc import Sequence
from typing import Any, overload

import numpy
from numpy.typing import NDArray

_Any = NDArray[Any]
_Bool = NDArray[numpy.bool_]
_Float32 = NDArray[numpy.float32]
_Float64 = NDArray[numpy.float64]
_Int64 = NDArray[numpy.int64]
_Uint16 = NDArray[numpy.uint16]
_Uint32 = NDArray[numpy.uint32]
_Uint64 = NDArray[numpy.uint64]
_Uint8 = NDArray[numpy.uint8]

@overload
def watershed(
    z: _Uint8, y: _Uint8, x: _Uint8, flipped: int, low: int, high: int, labels: _Uint32, threads: int
) -> int: ...
@overload
def watershed(
    z: _Uint16, y: _Uint16, x: _Uint16, flipped: int, low: int, high: int, labels: _Uint32, threads: int
) -> int: ...
@overload
def watershed(
    z: _Uint8, y: _Uint8, x: _Uint8, flipped: int, low: int, high: int, labels: _Uint64, threads: int
) -> int: ...
@overload
def watershed(
    z: _Uint16, y: _Uint16, x: _Uint16, flipped: int, low: int, high: int, labels: _Uint64, threads: int
) -> int: ...
@overload
def region_graph(
    z: _Uint8, y: _Uint8, x: _Uint8, flipped: int, fragments: _Uint32, value: _Uint32, threads: int
) -> tuple[_Uint32, _Uint32, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16]: ...
@overload
def region_graph(
    z: _Uint16, y: _Uint16, x: _Uint16, flipped: int, fragments: _Uint32, value: _Uint32, threads: int
) -> tuple[_Uint32, _Uint32, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16]: ...
@overload
def region_graph(
    z: _Uint8, y: _Uint8, x: _Uint8, flipped: int, fragments: _Uint64, value: _Uint32, threads: int
) -> tuple[_Uint64, _Uint64, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16]: ...
@overload
def region_graph(
    z: _Uint16, y: _Uint16, x: _Uint16, flipped: int, fragments: _Uint64, value: _Uint32, threads: int
) -> tuple[_Uint64, _Uint64, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16]: ...
@overload
def face_histograms(
    z: _Uint8, y: _Uint8, x: _Uint8, flipped: int, fragments: _Uint32, value: _Uint32, threads: int
) -> tuple[_Uint64, _Uint16, _Uint64]: ...
@overload
def face_histograms(
    z: _Uint16, y: _Uint16, x: _Uint16, flipped: int, fragments: _Uint32, value: _Uint32, threads: int
) -> tuple[_Uint64, _Uint16, _Uint64]: ...
@overload
def face_histograms(
    z: _Uint8, y: _Uint8, x: _Uint8, flipped: int, fragments: _Uint64, value: _Uint32, threads: int
) -> tuple[_Uint64, _Uint16, _Uint64]: ...
@overload
def face_histograms(
    z: _Uint16, y: _Uint16, x: _Uint16, flipped: int, fragments: _Uint64, value: _Uint32, threads: int
) -> tuple[_Uint64, _Uint16, _Uint64]: ...
@overload
def agglomerate(
    z: _Uint8,
    y: _Uint8,
    x: _Uint8,
    flipped: int,
    fragments: _Uint32,
    count: int,
    value: _Uint32,
    chosen: tuple[str, int, int],
    block: tuple[int, int, int],
    scale: float,
    threads: int,
) -> tuple[_Uint32, _Uint32, _Float64]: ...
@overload
def agglomerate(
    z: _Uint16,
    y: _Uint16,
    x: _Uint16,
    flipped: int,
    fragments: _Uint32,
    count: int,
    value: _Uint32,
    chosen: tuple[str, int, int],
    block: tuple[int, int, int],
    scale: float,
    threads: int,
) -> tuple[_Uint32, _Uint32, _Float64]: ...
@overload
def agglomerate(
    z: _Uint8,
    y: _Uint8,
    x: _Uint8,
    flipped: int,
    fragments: _Uint64,
    count: int,
    value: _Uint32,
    chosen: tuple[str, int, int],
    block: tuple[int, int, int],
    scale: float,
    threads: int,
) -> tuple[_Uint64, _Uint64, _Float64]: ...
@overload
def agglomerate(
    z: _Uint16,
    y: _Uint16,
    x: _Uint16,
    flipped: int,
    fragments: _Uint64,
    count: int,
    value: _Uint32,
    chosen: tuple[str, int, int],
    block: tuple[int, int, int],
    scale: float,
    threads: int,
) -> tuple[_Uint64, _Uint64, _Float64]: ...
@overload
def segment_fragments(
    z: _Uint8,
    y: _Uint8,
    x: _Uint8,
    flipped: int,
    fragments: _Uint32,
    count: int,
    value: _Uint32,
    chosen: tuple[str, int, int],
    block: tuple[int, int, int],
    stop: float,
    scale: float,
    min_size: int,
    threads: int,
) -> _Uint32: ...
@overload
def segment_fragments(
    z: _Uint16,
    y: _Uint16,
    x: _Uint16,
    flipped: int,
    fragments: _Uint32,
    count: int,
    value: _Uint32,
    chosen: tuple[str, int, int],
    block: tuple[int, int, int],
    stop: float,
    scale: float,
    min_size: int,
    threads: int,
) -> _Uint32: ...
@overload
def segment_fragments(
    z: _Uint8,
    y: _Uint8,
    x: _Uint8,
    flipped: int,
    fragments: _Uint64,
    count: int,
    value: _Uint32,
    chosen: tuple[str, int, int],
    block: tuple[int, int, int],
    stop: float,
    scale: float,
    min_size: int,
    threads: int,
) -> _Uint64: ...
@overload
def segment_fragments(
    z: _Uint16,
    y: _Uint16,
    x: _Uint16,
    flipped: int,
    fragments: _Uint64,
    count: int,
    value: _Uint32,
    chosen: tuple[str, int, int],
    block: tuple[int, int, int],
    stop: float,
    scale: float,
    min_size: int,
    threads: int,
) -> _Uint64: ...
@overload
def fill_background(z: _Uint8, y: _Uint8, x: _Uint8, flipped: int, labels: _Uint32, threads: int) -> None: ...
@overload
def fill_background(z: _Uint16, y: _Uint16, x: _Uint16, flipped: int, labels: _Uint32, threads: int) -> None: ...
@overload
def fill_background(z: _Uint8, y: _Uint8, x: _Uint8, flipped: int, labels: _Uint64, threads: int) -> None: ...
@overload
def fill_background(z: _Uint16, y: _Uint16, x: _Uint16, flipped: int, labels: _Uint64, threads: int) -> None: ...
@overload
def mutex_watershed(
    channels: _Uint8,
    offsets: _Int64,
    rank: _Uint32,
    strides: tuple[int, int, int],
    mask: _Uint8 | None,
    seeds: _Uint32 | None,
    labels: _Uint32,
    threads: int,
) -> int: ...
@overload
def mutex_watershed(
    channels: _Uint16,
    offsets: _Int64,
    rank: _Uint32,
    strides: tuple[int, int, int],
    mask: _Uint8 | None,
    seeds: _Uint32 | None,
    labels: _Uint32,
    threads: int,
) -> int: ...
def operations() -> int: ...

INDEX_LIMIT: int = 2147483648

@overload
def agglomerate_graph(
    columns: tuple[_Uint32, _Uint32, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16],
    bins: tuple[_Uint64, _Uint16, _Uint64],
    chosen: tuple[str, int, int],
    top: int,
    scale: float,
    threads: int,
) -> tuple[_Uint32, _Uint32, _Float64]: ...
@overload
def agglomerate_graph(
    columns: tuple[_Uint64, _Uint64, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16],
    bins: tuple[_Uint64, _Uint16, _Uint64],
    chosen: tuple[str, int, int],
    top: int,
    scale: float,
    threads: int,
) -> tuple[_Uint64, _Uint64, _Float64]: ...
@overload
def absorb_small(
    columns: tuple[_Uint32, _Uint32, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16],
    bins: tuple[_Uint64, _Uint16, _Uint64],
    chosen: tuple[str, int, int],
    segment_of: _Uint32,
    size: _Uint64,
    min_size: int,
) -> _Uint32: ...
@overload
def absorb_small(
    columns: tuple[_Uint64, _Uint64, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16],
    bins: tuple[_Uint64, _Uint16, _Uint64],
    chosen: tuple[str, int, int],
    segment_of: _Uint64,
    size: _Uint64,
    min_size: int,
) -> _Uint64: ...
@overload
def cut(fragments: int, a: _Uint32, b: _Uint32, count: int) -> _Uint32: ...
@overload
def cut(fragments: int, a: _Uint64, b: _Uint64, count: int) -> _Uint64: ...
def merge_order(total: _Uint64, count: _Uint64, key: _Uint64, top: int, threads: int) -> _Uint64: ...
@overload
def largest_label(labels: _Uint32, threads: int) -> int: ...
@overload
def largest_label(labels: _Uint64, threads: int) -> int: ...
@overload
def count_labels(labels: _Uint32, names: int, threads: int) -> _Uint64: ...
@overload
def count_labels(labels: _Uint64, names: int, threads: int) -> _Uint64: ...
@overload
def relabel(labels: _Uint32, table: _Uint32, out: _Uint32, threads: int) -> None: ...
@overload
def relabel(labels: _Uint32, table: _Uint64, out: _Uint64, threads: int) -> None: ...
@overload
def relabel(labels: _Uint64, table: _Uint32, out: _Uint32, threads: int) -> None: ...
@overload
def relabel(labels: _Uint64, table: _Uint64, out: _Uint64, threads: int) -> None: ...
@overload
def encode(thresholds: _Float32, p: _Float32, codes: _Uint8, threads: int) -> bool: ...
@overload
def encode(thresholds: _Float32, p: _Float32, codes: _Uint16, threads: int) -> bool: ...
def flood_sections(boundary: _Float32, seeds: int, spacing: int, labels: _Uint32, threads: int) -> int: ...
def basins(
    z: _Float32, y: _Float32, x: _Float32, low: float, high: float, x_outermost: bool, labels: _Uint64
) -> int: ...
@overload
def signed_graph(
    channels: _Uint8,
    offsets: _Int64,
    rank: _Uint32,
    weight: _Int64,
    labels: _Uint64,
    strides: tuple[int, int, int],
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
    origin: tuple[int, int, int],
    whole: tuple[int, int, int],
    threads: int,
) -> tuple[_Uint64, _Uint64, _Int64, _Uint64, _Uint32, _Uint64]: ...
@overload
def signed_graph(
    channels: _Uint16,
    offsets: _Int64,
    rank: _Uint32,
    weight: _Int64,
    labels: _Uint64,
    strides: tuple[int, int, int],
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
    origin: tuple[int, int, int],
    whole: tuple[int, int, int],
    threads: int,
) -> tuple[_Uint64, _Uint64, _Int64, _Uint64, _Uint32, _Uint64]: ...
def signed_clusters(
    columns: tuple[_Uint64, _Uint64, _Int64, _Uint64, _Uint32, _Uint64], linkage: str, top: int
) -> tuple[_Uint64, _Uint64]: ...
def signed_part(
    columns: tuple[_Uint64, _Uint64, _Uint32, _Uint64], bar_a: _Uint64, bar_b: _Uint64, frozen: _Uint8
) -> tuple[_Uint64, _Uint8, tuple[_Uint64, _Uint64, _Uint32, _Uint64], _Uint64, _Uint64]: ...
@overload
def merge_by_size(a: _Uint32, b: _Uint32, order: _Uint64, sizes: _Uint64, size: int, dust: int) -> _Uint32: ...
@overload
def merge_by_size(a: _Uint64, b: _Uint64, order: _Uint64, sizes: _Uint64, size: int, dust: int) -> _Uint64: ...
@overload
def merge_in_order(a: _Uint32, b: _Uint32, sizes: _Uint64, size: int, dust: int) -> tuple[_Uint32, _Uint64]: ...
@overload
def merge_in_order(a: _Uint64, b: _Uint64, sizes: _Uint64, size: int, dust: int) -> tuple[_Uint64, _Uint64]: ...
@overload
def agglomerate_in_queue_order(
    columns: tuple[_Uint32, _Uint32, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16],
    bins: tuple[_Uint64, _Uint16, _Uint64],
    chosen: tuple[str, int, int],
    nodes: int,
    first_in_first_out: bool,
) -> tuple[_Uint32, _Uint32, _Float64]: ...
@overload
def agglomerate_in_queue_order(
    columns: tuple[_Uint64, _Uint64, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16],
    bins: tuple[_Uint64, _Uint16, _Uint64],
    chosen: tuple[str, int, int],
    nodes: int,
    first_in_first_out: bool,
) -> tuple[_Uint64, _Uint64, _Float64]: ...
@overload
def block_watershed(
    z: _Uint8,
    y: _Uint8,
    x: _Uint8,
    flipped: int,
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
    low: int,
    high: int,
    labels: _Uint32,
    asks: _Uint8,
    threads: int,
) -> _Uint32: ...
@overload
def block_watershed(
    z: _Uint16,
    y: _Uint16,
    x: _Uint16,
    flipped: int,
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
    low: int,
    high: int,
    labels: _Uint32,
    asks: _Uint8,
    threads: int,
) -> _Uint32: ...
@overload
def merge_block(
    z: _Uint8,
    y: _Uint8,
    x: _Uint8,
    flipped: int,
    fragments: _Uint32,
    frozen: _Uint8,
    value: _Uint32,
    chosen: tuple[str, int, int],
    block: tuple[int, int, int],
    stop: float,
    scale: float,
    threads: int,
) -> tuple[
    tuple[_Uint32, _Uint32, _Float64],
    tuple[_Uint32, _Uint32, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16],
    tuple[_Uint64, _Uint16, _Uint64],
    _Uint8,
]: ...
@overload
def merge_block(
    z: _Uint16,
    y: _Uint16,
    x: _Uint16,
    flipped: int,
    fragments: _Uint32,
    frozen: _Uint8,
    value: _Uint32,
    chosen: tuple[str, int, int],
    block: tuple[int, int, int],
    stop: float,
    scale: float,
    threads: int,
) -> tuple[
    tuple[_Uint32, _Uint32, _Float64],
    tuple[_Uint32, _Uint32, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16],
    tuple[_Uint64, _Uint16, _Uint64],
    _Uint8,
]: ...
@overload
def part_graph(
    z: _Uint8,
    y: _Uint8,
    x: _Uint8,
    flipped: int,
    fragments: _Uint64,
    value: _Uint32,
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
    histograms: bool,
) -> tuple[tuple[_Uint64, _Uint64, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16], tuple[_Uint64, _Uint16, _Uint64]]: ...
@overload
def part_graph(
    z: _Uint16,
    y: _Uint16,
    x: _Uint16,
    flipped: int,
    fragments: _Uint64,
    value: _Uint32,
    start: tuple[int, int, int],
    stop: tuple[int, int, int],
    histograms: bool,
) -> tuple[tuple[_Uint64, _Uint64, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16], tuple[_Uint64, _Uint16, _Uint64]]: ...
def merge_frozen(
    columns: list[Any],
    bins: tuple[_Uint64, _Uint16, _Uint64],
    frozen: _Uint8,
    chosen: tuple[str, int, int],
    top: int,
    stop: float,
    scale: float,
    threads: int,
) -> tuple[
    tuple[_Uint64, _Uint64, _Float64],
    tuple[_Uint64, _Uint64, _Uint64, _Uint64, _Uint64, _Uint16, _Uint16],
    tuple[_Uint64, _Uint16, _Uint64],
    _Uint8,
]: ...
def unite(n: int, a: _Uint64, b: _Uint64) -> _Uint64: ...
def tree_intervals(fragments: int, a: _Int64, b: _Int64) -> tuple[_Int64, _Int64, _Int64, _Int64]: ...
def largest_between(gap: _Int64, p: _Int64, q: _Int64) -> _Int64: ...
def minimum_cut(nodes: int, u: _Int64, v: _Int64, capacity: _Int64, source: int, sink: int) -> _Uint8: ...
def contingency(truth: _Any, segment: _Any, threads: int) -> tuple[_Uint64, _Uint64, _Uint64]: ...
def threshold_curve(
    fragments: int, cells: tuple[_Uint32, _Uint64, _Uint64], merges: tuple[_Uint64, _Uint64, _Float64]
) -> tuple[_Uint64, _Uint64, _Uint64, _Uint64, _Uint64, _Float64, _Float64]: ...
def edge_cost(
    logits: _Any, target: _Bool, valid: _Bool, weights: _Float32, smoothing: float, threads: int
) -> float: ...
def edge_slopes(
    logits: _Any,
    target: _Bool,
    valid: _Bool,
    weights: _Float32,
    smoothing: float,
    factor: float,
    slopes: _Any,
    threads: int,
) -> None: ...
def meetings(labels: _Any, steps: int, meets: _Bool, threads: int) -> None: ...
def erode(labels: _Any, steps: int, eroded: _Any, threads: int) -> None: ...
def join(
    labels: _Any, known: _Bool, offsets: Sequence[Sequence[int]], joined: _Bool, valid: _Bool, threads: int
) -> None: ...
def look_up(image: _Uint8, table: _Float32, found: _Float32, threads: int) -> None: ...
def to_codes(values: _Uint16, rectify: bool, codes: _Uint8, threads: int) -> tuple[float, int]: ...
