"""Scores as people and programs read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neuropil.evaluation import Scores
from neuropil.volumes.atomic import replacing
from neuropil.volumes.volume import writable


def score_table(scores: Scores) -> list[str]:
    """Scores in lines to read.

    >>> import numpy as np
    >>> from neuropil.evaluation import evaluate
    >>> score_table(evaluate(np.array([[[1, 2]]]), np.array([[[1, 1]]])))[1]
    'adapted Rand error  0.3333   precision 1.0000  recall 0.5000'
    """
    run = scores.run_length
    return [
        f"scored              {scores.scored:,} of {scores.voxels:,} voxels"
        + (f", {scores.box}" if scores.box else ""),
        f"adapted Rand error  {scores.adapted_rand_error:.4f}   precision {scores.adapted_rand_precision:.4f}  "
        f"recall {scores.adapted_rand_recall:.4f}",
        f"  CREMI variant     {scores.cremi.error:.4f}   scikit-image variant {scores.scikit_image.error:.4f}",
        f"VI in bits          {scores.voi:.4f}   split {scores.voi_split:.4f}  merge {scores.voi_merge:.4f}",
        f"Rand index          {scores.rand_index:.6f}   CREMI score {scores.cremi_score:.4f}",
        f"objects             {scores.objects:,} in the truth, {scores.segments:,} segments on them",
        *(
            []
            if run is None
            else [f"run length          {run.erl:.0f} nm of {run.truth:.0f} expected (NERL {run.nerl:.4f})"]
        ),
    ]


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write values as JSON; a reader sees all of them or what was there before.

    Raises:
        NeuropilError: the folder cannot be written.
    """
    with replacing(path) as temporary, writable(str(path)):
        temporary.write_text(json.dumps(values, indent=2) + "\n")
