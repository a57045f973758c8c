"""Files in the classic vocabulary, as people write them."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuropil import NeuropilError
from neuropil.compat.pytc import VOCABULARY, read_settings, translate
from neuropil.compat.pytc.settings import SAVED, plain, settings_to_yaml
from recorded import CLASSIC, needs_classic


def written(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_defaults_are_the_classic_ones():
    settings = read_settings([])
    assert settings["MODEL.FILTERS"] == [28, 36, 48, 64, 80]
    assert settings["SOLVER.ITERATION_TOTAL"] == 40000
    assert settings["INFERENCE.AUG_NUM"] == 8, "on by default, as the tutorial says"
    assert settings["INFERENCE.STRIDE"] == [4, 128, 128]


def test_later_files_win_and_words_win_over_all(tmp_path):
    base = written(tmp_path, "base.yaml", "SOLVER:\n  BASE_LR: 0.5\n  NAME: Adam\nMODEL:\n  FILTERS: [1, 2]\n")
    file = written(tmp_path, "file.yaml", "MODEL:\n  FILTERS: [3]\nSOLVER:\n  BASE_LR: 0.25\n")
    settings = read_settings([base, file], ["SOLVER.BASE_LR", "2e-3"])
    assert (settings["SOLVER.BASE_LR"], settings["SOLVER.NAME"], settings["MODEL.FILTERS"]) == (0.002, "Adam", [3])
    assert settings.where("MODEL.FILTERS") == f"{file}:2: MODEL.FILTERS"
    assert settings.where("SOLVER.BASE_LR") == "command line: SOLVER.BASE_LR"


def test_text_stands_for_the_value_it_shows(tmp_path):
    path = written(
        tmp_path,
        "quoted.yaml",
        """
INFERENCE: {AUG_NUM: 'None', STRIDE: "(4, 64, 64)"}   # flow style, quoted
SOLVER:
  STEPS: (100, 200)
  ITERATION_TOTAL: '300'
  BASE_LR: "1e-2"
MODEL:
  TARGET_OPT: ["2"]
  LABEL_EROSION: null
  ISOTROPY: ["False", 'False', False, "True", True]
  LOSS_WEIGHT: [["1.0", 2]]
DATASET:
  INPUT_PATH: '2023'
  IS_ISOTROPIC: 'False'
""",
    )
    settings = read_settings([path])
    assert settings["INFERENCE.AUG_NUM"] is None
    assert plain(settings["INFERENCE.STRIDE"]) == [4, 64, 64]
    assert settings["SOLVER.STEPS"] == (100, 200)
    assert settings["SOLVER.ITERATION_TOTAL"] == 300
    assert settings["SOLVER.BASE_LR"] == 0.01
    assert settings["MODEL.TARGET_OPT"] == ["2"]
    assert settings["MODEL.LABEL_EROSION"] is None
    assert settings["MODEL.ISOTROPY"] == [False, False, False, True, True]
    assert settings["MODEL.LOSS_WEIGHT"] == [[1.0, 2]]
    assert settings["DATASET.INPUT_PATH"] == "2023", "text where text is wanted"
    assert settings["DATASET.IS_ISOTROPIC"] is False


def test_a_section_with_all_keys_commented_out_is_none(tmp_path):
    assert not read_settings([written(tmp_path, "a.yaml", "MODEL:\n#  FILTERS: [3]\nSOLVER:\n")]).given


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("MODEL:\n  FLITERS: [3]\n", "1.yaml:2: MODEL.FLITERS: unknown key; did you mean MODEL.FILTERS?"),
        ("SOLVER:\n  STRIDE: 3\n", "SOLVER.STRIDE: unknown key; did you mean INFERENCE.STRIDE?"),
        ("OPTIM:\n  WHAT: 3\n", "OPTIM.WHAT: unknown; sections are SYSTEM, MODEL"),
        ("SOLVER:\n  SPEED: 3\n", "SOLVER.SPEED: unknown key; known there: NAME, LR_SCHEDULER_NAME"),
        ("MODEL: 3\n", "1.yaml:1: MODEL: expected keys with values, not a value"),
        ("MODEL:\n  FILTERS:\n    A: 3\n", "MODEL.FILTERS.A: unknown key"),
        ("SOLVER:\n  NAME: 3\n", "1.yaml:2: SOLVER.NAME: expected text, got 3"),
        ("SOLVER:\n  NAME: null\n", "SOLVER.NAME: expected text, got None"),
        (
            "MODEL:\n  LABEL_EROSION: half\n",
            "MODEL.LABEL_EROSION: expected None or a whole number or a list, got 'half'",
        ),
        ("MODEL:\n  LOSS_WEIGHT: [[much]]\n", "MODEL.LOSS_WEIGHT: expected a number for each item, got 'much'"),
        ("MODEL:\n  LOSS_OPTION: [[[x]]]\n", "MODEL.LOSS_OPTION: expected text for each item, got ['x']"),
        ("MODEL:\n  INPUT_SIZE: [9, a, 3]\n", "MODEL.INPUT_SIZE: expected a whole number for each item, got 'a'"),
        ("MODEL:\n  ISOTROPY: [2, maybe]\n", "MODEL.ISOTROPY: expected True or False for each item, got 2"),
        ("SOLVER:\n  STEPS: [soon]\n", "SOLVER.STEPS: expected a whole number for each item, got 'soon'"),
        ("SOLVER:\n  BASE_LR: 1\n  BASE_LR: 2\n", "SOLVER.BASE_LR is given twice, first on line 2"),
        ("MODEL:\n  REGU_OPT: [Binary]\n", "1.yaml:2: MODEL.REGU_OPT: ['Binary'] is not supported here; leave"),
        ("- 3\n", "expected sections"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path, text, said):
    with pytest.raises(NeuropilError) as refusal:
        read_settings([written(tmp_path, "1.yaml", text)])
    assert said in str(refusal.value)


@pytest.mark.parametrize("value", ["&a [*a]", "&a {b: *a}"])
def test_a_value_that_holds_itself_is_refused(tmp_path, value):
    with pytest.raises(NeuropilError, match="holds itself, or is nested too deeply"):
        read_settings([written(tmp_path, "1.yaml", f"MODEL:\n  FILTERS: {value}\n")])


def test_a_word_that_holds_itself_is_refused_by_name():
    with pytest.raises(NeuropilError, match=r"^command line: MODEL.REGU_OPT: a list that holds itself"):
        read_settings([], ["MODEL.REGU_OPT", "&a [*a]"])


def test_all_mistakes_are_named_at_once(tmp_path):
    path = written(tmp_path, "1.yaml", "MODEL:\n  REGU_OPT: 1\n  FLITERS: 3\n")
    with pytest.raises(NeuropilError) as refusal:
        read_settings([path], ["SOLVER.NAME", "3", "SYSTEM.NUM_GPUS", "many"])
    lines = str(refusal.value).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        *("MODEL.REGU_OPT", "MODEL.FLITERS", "SOLVER.NAME", "SYSTEM.NUM_GPUS")
    ]


def test_words_come_in_pairs():
    with pytest.raises(NeuropilError, match="pairs of KEY VALUE"):
        read_settings([], ["SOLVER.NAME"])


@given(st.dictionaries(st.sampled_from(sorted(VOCABULARY)), st.none() | st.integers() | st.text(max_size=5)))
def test_any_values_are_read_or_refused_by_name(tmp_path_factory, values):
    """Whatever stands behind a known key, it is either taken or refused under its own name; nothing else happens."""
    words = [word for name, value in values.items() for word in (name, str(value))]
    try:
        settings = read_settings([], words)
    except NeuropilError as refusal:
        for line in str(refusal).splitlines():
            assert any(f"command line: {name}: " in line for name in values) or "'" in line
    else:
        assert set(settings.given) == set(values)


def test_what_a_run_saves_is_read_again(tmp_path):
    settings = read_settings([], ["MODEL.TARGET_OPT", '["2"]', "MODEL.OUT_PLANES", "3", "INFERENCE.AUG_NUM", "None"])
    (tmp_path / SAVED).write_text(settings_to_yaml(settings))
    again = read_settings([tmp_path / SAVED])
    assert all(plain(again[name]) == plain(settings[name]) for name in VOCABULARY)
    assert replace(translate(again), notes=()).config == translate(settings).config
    # The native recipe that training writes beside it stands for the same.
    (tmp_path / "config.yaml").write_text("training:\n  iterations: 2\n")
    assert read_settings([tmp_path / "config.yaml"])["INFERENCE.AUG_NUM"] is None
    (tmp_path / SAVED).unlink()
    with pytest.raises(NeuropilError, match=r"is a recipe of neuropil, and no classic.yaml lies next to it"):
        read_settings([tmp_path / "config.yaml"])


@needs_classic
def test_configurations_that_the_classic_program_saved_are_read():
    saved = sorted(CLASSIC.glob("*.yaml"))
    assert len(saved) > 8
    for path in saved:
        assert translate(read_settings([path])).config.training.batch == 2
