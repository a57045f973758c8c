"""Names of waterz's scoring functions: each is taken, or refused by name."""

import pytest

from neuropil import NeuropilError
from neuropil.compat import waterz as ours

NAMES = {
    "affmean": "mean",
    "aff50_his256": "q50",
    "aff75_his0": "q75",
    "aff50": "q50",
    "aff5": "q5",
    "mean": "mean",
    "hist_quant_10": "q10",
    "hist_quant_85_initmax": "q85",
    "OneMinus< EdgeStatisticValue<RegionGraphType, MaxAffinityProvider<RegionGraphType, ScoreValue> > >": "max",
    "OneMinus<EdgeStatisticValue<RegionGraphType,VectorQuantileProvider<RegionGraphType,30,ScoreValue,true>>>": "q30",
    " OneMinus <\tMeanAffinity < RegionGraphType ,ScoreValue >\n> ": "mean",
    "OneMinus<MeanAffinity<RegionGraphType, ScoreValue>>": "mean",
    "OneMinus<MinAffinity<RegionGraphType,ScoreValue>>": "min",
    "OneMinus<HistogramQuantileAffinity<RegionGraphType, 85, ScoreValue, 256>>": "q85",
    "OneMinus<MaxAffinity<RegionGraphType, ScoreValue>>": "max",
    "OneMinus<HistogramQuantileAffinity<RegionGraphType, 25, ScoreValue, 256, false>>": "q25",
    "OneMinus<QuantileAffinity<RegionGraphType, 40, ScoreValue>>": "q40",
}


@pytest.mark.parametrize(("theirs", "score"), NAMES.items())
def test_names_of_scores(theirs, score):
    assert ours.parse_function(theirs).score == score


def test_every_name_that_waterz_knows_is_taken_or_refused_as_one():
    """Its wheels hold functions compiled ahead, in its own spelling: all but those of sizes have a counterpart."""
    codegen = pytest.importorskip("waterz._codegen")
    names = {codegen.normalize(spec.scoring_function) for spec in codegen.iter_specs()}
    assert len(names) > 20
    for name in names:
        if "Size<" in name:
            with pytest.raises(NeuropilError, match="no counterpart"):
                ours.parse_function(name)
        else:
            assert ours.parse_function(name).score in ("mean", *(f"q{q}" for q in codegen.QUANTILES))


@pytest.mark.parametrize(
    ("name", "bins", "start_max"),
    [
        ("aff50_his256", 256, True),
        ("aff75_his0", 0, True),
        ("hist_quant_50", 0, False),
        ("hist_quant_50_initmax", 0, True),
        ("OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256, false>>", 256, False),
        ("OneMinus<QuantileAffinity<RegionGraphType, 50, ScoreValue>>", 0, True),
    ],
)
def test_quantiles_begin_with_the_largest_face_where_waterz_does(name, bins, start_max):
    function = ours.parse_function(name)
    assert (function.bins, function.start_max) == (bins, start_max)
    assert ours.parse_function(ours.getScoreFunc("aff50_his256")) == ours.parse_function("aff50_his256")
