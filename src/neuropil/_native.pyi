from typing import Any

from numpy import uint64, unsignedinteger
from numpy.typing import NDArray

def contingency(
    truth: NDArray[unsignedinteger[Any]], segment: NDArray[unsignedinteger[Any]], threads: int
) -> tuple[NDArray[uint64], NDArray[uint64], NDArray[uint64]]: ...
