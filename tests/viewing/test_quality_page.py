"""The page on a segmentation without labels."""

import numpy as np

from neuropil.config import SegmentConfig
from neuropil.proofreading import Calibration, proofreading_of, rank
from neuropil.proofreading.quality import Suspect, quality_of
from neuropil.viewing import quality_page
from neuropil.viewing.quality_page import write_quality
from neuropil.volumes import Metadata, array_volume


def test_the_page_says_what_the_summary_says_and_where_to_look(tmp_path, monkeypatch):
    monkeypatch.setattr(quality_page, "_MOST", 5)
    meta = Metadata(voxel_size=(30, 6, 6), extra={"threshold": 0.7})
    affinities = array_volume(np.random.default_rng(1).random((3, 6, 40, 40)) ** 0.4, meta)
    state = proofreading_of(affinities, settings=SegmentConfig(threshold=0.7))
    state.smallest = 20
    ranking = rank(state, Calibration.load())
    quality = quality_of(state, ranking, state.fragments)
    quality.orphans.append(Suspect("orphan", 77, (4, 30, 20), "a <tag> & 5 voxels"))
    page = write_quality(tmp_path / "q.html", quality, state, ranking, state.fragments, affinities).read_text()
    for name, value in quality.rows():
        assert f"<td>{name}</td>" in page
        assert value.split(":")[0].split("(")[0] in page
    assert page.count("data:image/png;base64") == 2
    assert "a &lt;tag&gt; &amp; 5 voxels" in page
    assert "--at 4,30,20 --select 77" in page
    first = sorted({int(ranking.found.id_a[0]), int(ranking.found.id_b[0])})
    assert f"--select {','.join(map(str, first))}" in page
    assert page.count("neuropil view") == 1 + 5
    assert f"{len(ranking.found) - 5} more are in decisions.csv" in page
