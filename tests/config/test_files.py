"""Recipes: what is read is what was written, and every mistake is named with its place."""

from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from neuropil.config import Config, check_trainable, config_to_yaml, load_config
from neuropil.config.section import Section
from neuropil.errors import NeuropilError

SECTIONS = [field.annotation for field in Config.model_fields.values()]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(paths=(), sets=()) -> str:
    with pytest.raises(NeuropilError) as error:
        load_config(paths, sets)
    return str(error.value)


# --- reading ---------------------------------------------------------------------------------------------------------


def test_later_files_win_key_by_key_and_lists_are_replaced(tmp_path):
    first = write(tmp_path, "a.yaml", "model: {widths: [8, 16, 32], norm: group}\ntraining: {minutes: 6, batch: 2}\n")
    second = write(tmp_path, "b.yaml", "model: {widths: [4, 8]}\ntraining: {batch: 3}\n")
    config = load_config([first, second], ["training.batch=4", "optimizer.learning_rate=1e-3"])
    assert config.model.widths == (4, 8)
    assert config.model.downsample == ((1, 2, 2),)  # follows the widths
    assert config.model.norm == "group"
    assert (config.training.minutes, config.training.batch) == (6.0, 4)
    assert config.optimizer.learning_rate == 1e-3


def test_no_file_is_the_defaults():
    assert load_config([]) == Config()


def test_an_empty_section_keeps_the_defaults(tmp_path):
    path = write(tmp_path, "a.yaml", "training:\n  # minutes: 3\nmodel:\n  norm: none\n")
    assert load_config([path]).model.norm == "none"


def test_set_steps_into_lists(tmp_path):
    path = write(tmp_path, "a.yaml", "data: {train: [{image: a.h5, labels: b.h5}]}\n")
    assert load_config([path], ["data.train.0.image=c.tif"]).data.train[0].image == "c.tif"
    assert load_config([path], ["data.train[0].image=c.tif"]).data.train[0].image == "c.tif"
    assert "data.train is a list of 1" in refusal([path], ["data.train.1.image=c.tif"])


@pytest.mark.parametrize(
    ("text", "number"), [("2e-3", 2e-3), ("0.002", 2e-3), ("1", 1.0), ("1E+1", 10.0), (".5", 0.5), ("1_000", 1000.0)]
)
def test_numbers_as_people_write_them(text, number):
    assert load_config([], [f"optimizer.learning_rate={text}"]).optimizer.learning_rate == number


@pytest.mark.parametrize("text", ["1:30", "yes please", "'2'", ".inf", ".nan", "[1]"])
def test_what_is_no_number_is_not_made_one(text):
    assert "training.minutes: expected a" in refusal(sets=[f"training.minutes={text}"])


def test_environment_variables_in_paths(tmp_path, monkeypatch):
    path = write(tmp_path, "a.yaml", "data: {train: [{image: '${EM_FOLDER}/a.h5/main'}]}\n")
    monkeypatch.setenv("EM_FOLDER", "/em")
    assert load_config([path]).data.train[0].image == "/em/a.h5/main"
    monkeypatch.delenv("EM_FOLDER")
    assert "EM_FOLDER is not set" in refusal([path])


def test_merge_keys_and_anchors(tmp_path):
    text = "data:\n  train:\n    - &one {image: a.h5, labels: b.h5}\n  validation:\n    - {<<: *one, box: '0:5,:,:'}\n"
    validation = load_config([write(tmp_path, "a.yaml", text)]).data.validation[0]
    assert (validation.labels, validation.box) == ("b.h5", "0:5,:,:")


def test_set_changes_one_place_of_an_alias(tmp_path):
    text = "data:\n  train:\n    - &one {image: a.h5, labels: b.h5}\n  test: *one\n"
    config = load_config([write(tmp_path, "a.yaml", text)], ["data.test.image=c.tif"])
    assert (config.data.train[0].image, config.data.test.image) == ("a.h5", "c.tif")


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("trainig: {minutes: 1}", ":1: trainig:", "did you mean training?"),
        ("training:\n  minuts: 1", ":2: training.minuts:", "did you mean minutes?"),
        ("training:\n  learning_rate: 1", ":2: training.learning_rate:", "did you mean optimizer.learning_rate?"),
        ("loss:\n  zzz: 1", ":2: loss.zzz:", "known here: class_balance, weight_cap, label_smoothing"),
        ("training: {batch: many}", ":1: training.batch:", "expected a whole number, got 'many'"),
        ("training: {batch: 0}", ":1: training.batch:", "expected a value ≥ 1, got 0"),
        ("training: {batch: 1.5}", ":1: training.batch:", "expected a whole number, got 1.5"),
        ("training: {batch: true}", ":1: training.batch:", "expected a whole number, got true"),
        ("training: {patch: [16, 144]}", ":1: training.patch:", "expected three numbers [z, y, x]; got [16, 144]"),
        ("training: {patch: [16, 144, a]}", ":1: training.patch[2]:", "expected a whole number, got 'a'"),
        ("augment: {flip: 1}", ":1: augment.flip:", "expected true or false, got 1"),
        ("predict: {tta: 3}", ":1: predict.tta:", "expected 1, 4, 8, 16 or 48, got 3"),
        ("segment: {score: median}", ":1: segment.score:", "expected mean, max, min or qNN"),
        ("segment: {low: 0.9, high: 0.1}", ":1: segment:", "expected low < high"),
        ("model: {offsets: [[0, 0, 0]]}", ":1: model.offsets:", "must join different voxels"),
        ("model: {widths: [4, 8], downsample: [[1, 2, 2], [1, 2, 2]]}", ":1: model:", "one factor fewer"),
        ("model: {widths: []}", ":1: model.widths:", "expected a list of at least 1, got []"),
        ("data: {train: [{labels: a.h5}]}", ":1: data.train[0].image:", "is needed and missing"),
        ("data: {train: [{image: a, box: 1:2}]}", ":1: data.train[0].box:", "a box is written Z0:Z1,Y0:Y1,X0:X1"),
        ("data: {train: [{image: ''}]}", ":1: data.train[0].image:", "expected text that is not empty, got ''"),
        ("model: 3", ":1: model:", "expected keys with values, got 3"),
        ("training: {minutes: 1}\ntraining: {batch: 1}", ":2: training", "given twice, first on line 1"),
        ("training:\n  batch: 1\n  batch: 2", ":3: training.batch", "given twice, first on line 2"),
        ("training: {minutes: 1", "", "not valid YAML"),
        ("training: &a [*a]", "", "holds itself"),
        ("- 1\n- 2", "", "expected sections such as 'training:', got [1, 2]"),
        ("training: !!python/object:os.system {}", "", "not valid YAML"),
    ],
)
def test_mistakes_in_a_file(tmp_path, text, place, says):
    path = write(tmp_path, "recipe.yaml", text)
    message = refusal([path])
    assert f"{path}{place}" in message
    assert says in message


def test_every_mistake_is_listed_with_the_file_it_came_from(tmp_path):
    first = write(tmp_path, "a.yaml", "training: {bach: 1}")
    second = write(tmp_path, "b.yaml", "\nmodel: {norm: layer}")
    lines = refusal([first, second], ["loss.weight_cap=0"]).splitlines()
    assert [line.split(": ")[0] for line in sorted(lines)] == ["--set loss.weight_cap=0", f"{first}:1", f"{second}:2"]


def test_an_overridden_value_is_blamed_on_who_gave_it_last(tmp_path):
    first = write(tmp_path, "a.yaml", "training:\n  batch: 1")
    second = write(tmp_path, "b.yaml", "\n\ntraining:\n  batch: x")
    assert refusal([first, second]).startswith(f"{second}:4: training.batch")
    assert refusal(sets=["traning.batch=1"]).startswith("--set traning.batch=1: traning: unknown key; did you mean")
    assert "--set data.train=[3]: data.train[0]" in refusal(
        [write(tmp_path, "c.yaml", "data: {train: [{image: a}]}")], ["data.train=[3]"]
    )
    assert refusal([first], ["training.batch=x"]).startswith("--set training.batch=x: training.batch")


@pytest.mark.parametrize("text", ["training.minutes", "minutes=6", "=6", "training.=6", "training.minutes.x=6"])
def test_set_that_is_not_one(text, tmp_path):
    assert f"--set {text}" in refusal([write(tmp_path, "a.yaml", "training: {minutes: 3}")], [text])


def test_files_that_cannot_be_read(tmp_path):
    assert "no such config file" in refusal([tmp_path / "none.yaml"])
    assert "cannot be read" in refusal([tmp_path])
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    assert str(tmp_path / "binary.yaml") in refusal([tmp_path / "binary.yaml"])


def test_what_training_needs():
    pair = {"image": "a.h5", "labels": "b.h5"}
    check_trainable(Config.from_dict({"data": {"train": [pair]}, "training": {"minutes": 1}}))
    for broken, says in [
        ({"training": {"minutes": 1}}, "data.train"),
        ({"data": {"train": [{"image": "a.h5"}]}, "training": {"minutes": 1}}, r"data.train\[0\].labels"),
        ({"data": {"train": [pair], "validation": [{"image": "c"}]}}, r"data.validation\[0\].labels: .* labels of c"),
        ({"data": {"train": [pair]}}, "iterations or minutes"),
        (
            {"data": {"train": [pair]}, "optimizer": {"schedule": "plateau"}},
            "plateau goes by the loss on data.validation",
        ),
        (
            {"data": {"train": [pair]}, "training": {"segment_validation": [4, 9, 9]}},
            "a volume in data.validation, got",
        ),
        (
            {"data": {"train": [pair]}, "loss": {"edge_weights": [1, 2]}},
            "edge_weights: expected 9 numbers, .*got .1.0, 2",
        ),
        ({"data": {"train": [pair]}, "loss": {"edge_weights": [0] * 9}}, "not all 0"),
    ]:
        with pytest.raises(NeuropilError, match=says):
            check_trainable(Config.from_dict(broken))


# --- writing ---------------------------------------------------------------------------------------------------------

paths = st.text(st.characters(codec="utf-8", exclude_characters="$~\x00"), min_size=1).filter(str.strip)
pairs = st.fixed_dictionaries(
    {"image": paths}, optional={"labels": paths, "box": st.just("0:5,:,:"), "weight": st.floats(1e-3, 1e3)}
)
triples = st.tuples(*[st.integers(1, 99)] * 3).map(list)
recipes = st.fixed_dictionaries(
    {},
    optional={
        "data": st.fixed_dictionaries({}, optional={"train": st.lists(pairs, max_size=3), "test": pairs | st.none()}),
        "model": st.fixed_dictionaries({"widths": st.lists(st.integers(1, 99), min_size=1, max_size=5)}),
        "optimizer": st.fixed_dictionaries({"learning_rate": st.floats(0, 1e3, exclude_min=True)}),
        "training": st.fixed_dictionaries(
            {"minutes": st.none() | st.floats(1e-9, 1e9)}, optional={"patch": triples, "device": st.just("cpu")}
        ),
        "predict": st.fixed_dictionaries({"tile": st.none() | triples}),
        "segment": st.fixed_dictionaries({"threshold": st.none() | st.floats(0, 1), "fill": st.booleans()}),
    },
)


@given(recipes, st.booleans(), st.booleans())
@example({"data": {"test": {"image": "0\x85"}}}, False, True)
@example({"data": {"test": {"image": "é"}}}, False, True)
@example({"data": {"train": [{"image": "0E0"}, {"image": "1_0"}, {"image": "12:30"}, {"image": "no"}]}}, False, False)
@example({"model": {"widths": [8, 16], "architecture": "residual_unet"}}, True, False)
@example({"model": {"architecture": "unetr"}}, True, False)
def test_written_and_read_again_is_the_same(tmp_path_factory, recipe, comments, full):
    config = Config.from_dict(recipe)
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    path.write_text(config_to_yaml(config, comments, full), encoding="utf-8")
    assert load_config([path]) == config
    assert Config.from_dict(config.to_dict()) == config


def test_to_dict_holds_plain_json_types():
    import json

    values = Config().to_dict()
    assert json.loads(json.dumps(values)) == values
    assert yaml.safe_load(config_to_yaml(Config())) == values


@pytest.mark.parametrize("section", [*SECTIONS, "VolumePair"], ids=str)
def test_every_field_says_what_it_is(section: type[Section] | str):
    from neuropil.config import VolumePair

    fields = (VolumePair if section == "VolumePair" else section).model_fields
    undocumented = [name for name, field in fields.items() if len(field.description or "") < 10]
    assert not undocumented


def test_comments_name_the_default_that_was_left():
    text = config_to_yaml(load_config([], ["training.batch=7"]))
    assert "# Samples per iteration and device. (default 1)\n  batch: 7\n" in text


def test_a_config_does_not_change():
    with pytest.raises(Exception, match="frozen"):
        Config().training.batch = 2
