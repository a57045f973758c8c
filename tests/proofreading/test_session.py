"""A session: answers on disk first, undo to the voxel, the same after a restart, memory and log agree."""

import numpy as np
import pytest

from neuropil import synthetic
from neuropil.config import SegmentConfig
from neuropil.errors import NeuropilError
from neuropil.proofreading import load_calibration, proofreading_of
from neuropil.proofreading.session import Session
from neuropil.segmentation.edits import EditLog, LogHeader
from neuropil.segmentation.segment import edited, merge_tree
from neuropil.targets import affinities_from_labels

HEADER = LogHeader("b2b:00", 1e-4, 0.9999, "mean", 0.5, 0)


@pytest.fixture(scope="module")
def affinities():
    _, labels = synthetic.neuropil((8, 64, 64), seed=1)
    clean = np.asarray(affinities_from_labels(labels, "nearest")[0], np.float32)
    return np.clip(0.15 + 0.6 * clean + np.random.default_rng(3).normal(0, 0.2, clean.shape), 0, 1).astype(np.float32)


@pytest.fixture
def session(affinities, tmp_path):
    state = proofreading_of(affinities)
    state.smallest = 60
    return Session(state, EditLog.begin(tmp_path / "log", HEADER), load_calibration())


def change(session):
    return "join" if session.question.join else "separate"


def test_each_answer_is_on_disk_and_asked_once(session):
    asked = []
    for i in range(12):
        question = session.question
        asked.append((question.join, question.a, question.b))
        edit = session.answer(change(session) if i % 3 == 0 else ("keep", "unsure")[i % 2])
        assert EditLog.read(session.log.path).edits[-1] == edit
    assert len(set(asked)) == 12
    assert len(EditLog.read(session.log.path).edits) == 12


def test_a_restart_goes_on_where_it_was(session):
    for i in range(6):
        session.answer(change(session) if i % 2 == 0 else "keep")
    again = Session(session.base, EditLog.read(session.log.path), session.calibration)
    assert np.array_equal(again.state.cut.lut, session.state.cut.lut)
    assert (again.question.a, again.question.b) == (session.question.a, session.question.b)


def test_undo_brings_everything_back(session):
    before, first = session.state.cut.lut.copy(), session.question
    for i in range(4):
        session.answer(change(session) if i % 2 == 0 else "keep")
    for _ in range(4):
        session.undo()
    assert np.array_equal(session.state.cut.lut, before)
    assert session.question == first
    with pytest.raises(NeuropilError, match="nothing to undo"):
        session.undo()


def test_the_log_gives_the_same_segmentation_as_the_session(session, affinities):
    for i in range(10):
        session.answer(change(session) if i % 2 == 0 else "keep")
    made = merge_tree(affinities, SegmentConfig())
    found = edited(made, made.cut(0.5), 0.5, EditLog.read(session.log.path).active())
    assert np.array_equal(found, session.state.cut.lut[made.nodes])


def test_wrong_answers_are_refused_and_change_nothing(session):
    wrong = "separate" if session.question.join else "join"
    with pytest.raises(NeuropilError, match="answered by"):
        session.answer(wrong)
    with pytest.raises(NeuropilError, match="inside the volume"):
        session.decide("join", (0, 0, 0), (99, 0, 0))
    assert EditLog.read(session.log.path).edits == []


def test_unlikely_answers_are_asked_for_again(session):
    session.wrong = 0.05
    question, unlikely = session.question, change(session)
    assert 0.01 < question.probability < 0.8
    assert session.answer(unlikely) is None
    assert session.question == question
    assert EditLog.read(session.log.path).edits == []
    while (edit := session.answer(unlikely)) is None:
        pass
    assert (edit.kind, edit.a, edit.b) == (unlikely, question.a, question.b)
    while session.question.probability > 0.005:
        session.skip()
    assert session.answer(change(session)) is None  # however unlikely, it is not taken for the opposite either
    session.skip()
    while session.question.probability > 0.005:
        session.skip()
    assert session.answer("keep").kind == "keep"


def test_answers_that_contradict_each_other_settle_nothing(session):
    session.wrong = 0.05
    assert [session.answer(kind) for kind in (change(session), "keep", change(session))] == [None] * 3
    assert session.answer("unsure").kind == "unsure"
    assert session.lead == 0


def test_sides_are_those_of_the_question(session):
    nodes = session.state.cut.tree.nodes(session.state.fragments.read())
    for _ in range(8):
        question, sides = session.question, session.sides()[nodes]
        assert {sides[question.a], sides[question.b]} == {1, 2}
        assert min((sides == 1).sum(), (sides == 2).sum()) >= 60
        session.skip()


def test_decisions_hold_at_another_threshold(session):
    question = next(q for q in iter(lambda: (session.skip(), session.question)[1], None) if not q.join)
    while session.question != question:
        session.skip()
    session.answer("separate")
    at = [
        session.state.cut.fragment_at(session.state.fragments, p, session.log.edits[0])
        for p in (question.a, question.b)
    ]
    for threshold in (0.3, 0.45, 0.6):
        session.set_threshold(threshold, session.base.cut.tree.cut(threshold))
        assert session.state.cut.lut[at[0]] != session.state.cut.lut[at[1]]


def test_segments_keep_their_ids_at_other_thresholds(session):
    """So they keep their colours; back at the first threshold everything is as it was."""
    first, tree = session.base.cut.lut.copy(), session.base.cut.tree
    session.set_threshold(0.4, tree.cut(0.4))
    lower = session.state.cut.lut.copy()
    assert set(lower.tolist()) < set(first.tolist())
    session.set_threshold(0.6, tree.cut(0.6))
    assert set(first.tolist()) < set(session.state.cut.lut.tolist())
    for threshold, expected in ((0.4, lower), (0.5, first)):
        session.set_threshold(threshold, tree.cut(threshold))
        assert np.array_equal(session.state.cut.lut, expected)


def test_a_threshold_at_which_decisions_contradict_changes_nothing(session, monkeypatch):
    before, question = session.state, session.question

    def refuse(*_):
        raise NeuropilError("contradicts")

    monkeypatch.setattr(type(before.cut), "apply", refuse)
    with pytest.raises(NeuropilError, match="contradicts"):
        session.set_threshold(0.4, session.base.cut.tree.cut(0.4))
    assert session.state is before
    assert session.base.cut.threshold == 0.5
    assert session.question == question


def test_after_another_threshold_the_questions_are_ranked_when_asked_for(session):
    first = session.question
    session.set_threshold(0.4, session.base.cut.tree.cut(0.4))
    assert session.question is None
    assert not session.sides().any()
    assert session.status().startswith("threshold 0.4: ")
    with pytest.raises(NeuropilError, match="answer again"):
        session.answer("keep")
    asked = session.question
    assert asked is not None
    session.set_threshold(0.5, session.base.cut.tree.cut(0.5))
    session.skip()
    assert session.question == first
    session.set_threshold(0.4, session.base.cut.tree.cut(0.4))
    session.decide("keep", asked.a, asked.b)
    assert session.question is not None
    assert session.question != asked
