"""Count voxels one by one."""

from collections import Counter

import numpy as np


def slow_contingency(segmentation, labels):
    """{(truth, segment): voxels}"""
    return dict(
        Counter(zip(np.asarray(labels).ravel().tolist(), np.asarray(segmentation).ravel().tolist(), strict=True))
    )
