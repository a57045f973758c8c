from typing import Any

from numpy import float64, uint32, uint64, unsignedinteger
from numpy.typing import NDArray

def contingency(
    truth: NDArray[unsignedinteger[Any]], segment: NDArray[unsignedinteger[Any]], threads: int
) -> tuple[NDArray[uint64], NDArray[uint64], NDArray[uint64]]: ...
def threshold_curve(
    fragments: int,
    cells: tuple[NDArray[uint32], NDArray[uint64], NDArray[uint64]],
    merges: tuple[NDArray[uint64], NDArray[uint64], NDArray[float64]],
) -> tuple[
    NDArray[uint64],
    NDArray[uint64],
    NDArray[uint64],
    NDArray[uint64],
    NDArray[uint64],
    NDArray[float64],
    NDArray[float64],
]: ...
def __getattr__(name: str) -> Any: ...  # the kernels of segmentation, whose callers check what they pass
