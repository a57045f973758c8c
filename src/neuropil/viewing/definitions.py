"""One-line definitions of the scores for reports."""

DEFINITIONS = (
    (
        "adapted_rand_error",
        "adapted Rand error",
        "1 − 2PR / (P + R) over pairs of voxels in one neuron, as the SNEMI3D challenge scores; 0 is perfect",
    ),
    ("adapted_rand_precision", "… precision P", "of the pairs of voxels joined, the share that belong together"),
    ("adapted_rand_recall", "… recall R", "of the pairs of voxels that belong together, the share joined"),
    ("voi_split", "VI split", "bits still needed to know the segment when the neuron is known; 0: no neuron is split"),
    ("voi_merge", "VI merge", "bits still needed to know the neuron when the segment is known; 0: no segment merges"),
    ("voi", "VI", "variation of information, split + merge"),
    ("cremi_score", "CREMI score", "square root of VI · adapted Rand error, as the CREMI challenge ranks"),
    ("rand_index", "Rand index", "share of all pairs of voxels judged as in the truth: near 1 even for poor results"),
    ("erl", "expected run length", "nm along a neuron from a random place on it to the first error, on average"),
    ("nerl", "… normalised", "as a share of what a perfect segmentation of these labels has"),
)
"""(key in ``Scores.to_json()``, name, meaning); those that were not measured are left out."""
