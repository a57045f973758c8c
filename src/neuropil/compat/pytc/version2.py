"""Translate configurations of PyTorch Connectomics version 2, as far as their keys have a counterpart here.

They are nested mappings with lower-case sections: ``default`` is shared by all stages, ``train`` and ``test`` belong to
one. Parts may be named instead of written out (``profile: mednext_s``); the files that define the names are listed in
``_base_``. If these files are missing, the published definitions are used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from neuropil.config import Config
from neuropil.config.files import read_yaml
from neuropil.config.mistakes import validate
from neuropil.errors import NeuropilError

Nested = dict[str, Any]
_MARKS = {"_base_", "experiment_name", "default", "pipeline_profile", "optimization"}
_OFFSETS = {
    "aff9": "0-0-1 0-1-0 1-0-0 0-0-5 0-5-0 5-0-0 0-0-11 0-11-0 11-0-0",
    "aff9_sdt": "0-0-1 0-1-0 1-0-0 0-0-5 0-5-0 5-0-0 0-0-17 0-17-0 17-0-0",
    "aff12": "0-0-1 0-1-0 1-0-0 2-0-0 3-0-0 4-0-0 0-0-3 0-0-9 0-0-27 0-3-0 0-9-0 0-27-0",
}
_PROFILES: dict[str, Nested] = {
    **{f"mednext_{size}": {"arch": {"type": "mednext"}, "mednext": {"size": size.upper()}} for size in "sbml"},
    "rsunet": {"arch": {"type": "rsunet"}},
    **{
        name: {
            "label_transform": {
                "erosion": 1,
                "targets": [{"name": "affinity", "kwargs": {"offsets": o.split(), "affinity_mode": "deepem"}}],
            }
        }
        for name, o in _OFFSETS.items()
    },
}
_AUGMENT = {
    "flip": True,
    "transpose": True,
    "elastic": 16.0,
    "warp_probability": 0.7,
    "contrast": 1.0,
    "brightness": 0.4,
    "intensity_probability": 0.7,
    "step": 0.2,
    "slip": 0.15,
    "missing": 0.1,
    "partly_missing": 0.1,
    "blurred": 0.15,
    "noisy": 0.15,
}
"""The profile ``aug_em_neuron`` in terms of the section ``augment``."""


class Version2(NamedTuple):
    """A configuration of version 2 as a recipe."""

    config: Config
    notes: tuple[str, ...]
    output: Path


def is_version_2(values: Mapping[Any, Any]) -> bool:
    """Whether a configuration is of the second version.

    >>> is_version_2({"experiment_name": "a", "default": {}}), is_version_2({"MODEL": {}})
    (True, False)
    """
    return bool(_MARKS & set(map(str, values))) and not any(str(name).isupper() for name in values)


def translate_version_2(path: Path | str) -> Version2:
    """The recipe of a file of the second version; keys without a counterpart are named in the notes.

    Raises:
        NeuropilError: a file that cannot be read, an unsupported architecture, no affinities to learn.
    """
    path = Path(path)
    notes: list[str] = []
    values = _with_bases(path, notes)
    shared = values.get("default", {})
    merged = _merged(shared, {k: v for k, v in values.items() if k not in ("default", "train", "test", "tune")})
    keys = AskedKeys(_merged(merged, values.get("train", {})), path)
    stage = AskedKeys(_merged(shared.get("data", {}), values.get("test", {}).get("data", {})), path)
    recipe: Nested = {}
    _put_model(keys, recipe, notes)
    _put_data(keys, stage, recipe, notes)
    _put_optimizer(keys, recipe)
    _put_prediction(keys, recipe, notes)
    left = keys.left()
    if left:
        notes.append(f"{path}: not translated: {', '.join(left)}")
    config = validate(Config, recipe, lambda _: str(path))
    return Version2(config, tuple(notes), Path("outputs") / str(values.get("experiment_name", path.stem)))


class AskedKeys:
    """A nested mapping that records which of its keys were read."""

    def __init__(self, values: Nested, path: Path) -> None:
        self.values, self.path = values, path
        self.asked: set[str] = {"experiment_name", "description", "_base_", "save_path", "params"}

    def get(self, *names: str, default: Any = None) -> Any:
        """The value of the first of several dotted names that exists."""
        for name in names:
            self.asked.add(name)
        for name in names:
            level: Any = self.values
            for part in name.split("."):
                level = level.get(part) if isinstance(level, Mapping) else None
            if level is not None:
                return level
        return default

    def left(self) -> list[str]:
        """The keys that were not read, shortened to two levels."""
        unread = {
            ".".join(name.split(".")[:2])
            for name in _leaves(self.values)
            if not any(name == one or name.startswith(f"{one}.") for one in self.asked)
        }
        return sorted(unread)


def _leaves(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> Nested:
    """The first mapping updated by the second, section by section."""
    out = dict(one)
    for name, value in other.items():
        both = isinstance(value, Mapping) and isinstance(out.get(name), Mapping)
        out[name] = _merged(out[name], value) if both else value
    return out


def _with_bases(path: Path, notes: list[str], seen: tuple[Path, ...] = ()) -> Nested:
    """The values of a file merged over those of its bases; missing bases are noted."""
    if path.resolve() in seen:
        raise NeuropilError(f"{path}: _base_ is circular")
    values = read_yaml(path)[0]
    bases = values.get("_base_") or []
    out: Nested = {}
    for base in [bases] if isinstance(bases, str) else bases:
        file = path.parent / str(base)
        if file.is_file():
            out = _merged(out, _with_bases(file, notes, (*seen, path.resolve())))
        else:
            notes.append(f"{path}: no {file}; named profiles have their published definitions")
    return _merged(out, {str(name): value for name, value in values.items()})


def _put_model(keys: AskedKeys, recipe: Nested, notes: list[str]) -> None:
    profile = keys.get("model.arch.profile")
    known = _PROFILES.get(str(profile), {})
    kind = keys.get("model.arch.type", default=known.get("arch", {}).get("type"))
    size = keys.get("model.mednext.size", default=known.get("mednext", {}).get("size", "S"))
    if kind == "mednext":
        mednext = {"size": size, "kernel": keys.get("model.mednext.kernel_size", default=3)}
        model: Nested = {"architecture": "mednext", "mednext": mednext}
        model["deep_supervision"] = bool(keys.get("model.loss.deep_supervision", default=False))
    elif kind == "rsunet":
        model = {"architecture": "residual_unet", "norm": "group", "activation": "elu"}
        model["widths"] = keys.get("model.rsunet.width", default=[18, 36, 48, 64, 80])
        model["downsample"] = keys.get("model.rsunet.down_factors", default=[[1, 2, 2]] * (len(model["widths"]) - 1))
        model["anisotropic_levels"] = keys.get("model.rsunet.depth_2d", default=1)
        notes.append(
            f"{keys.path}: rsunet becomes residual_unet, a network of the same kind: weights do not carry over"
        )
    else:
        raise NeuropilError(f"{keys.path}: model.arch: expected mednext or rsunet, got {kind or profile!r}")
    for name in ("model.in_channels", "model.out_channels", "model.output_size"):
        keys.get(name)
    model["offsets"], model["label_erosion"] = _offsets(keys, notes)
    recipe["model"] = model
    losses = keys.get("model.loss.losses", default=[{"function": "PerChannelBCEWithLogitsLoss"}])
    keys.get("model.loss.profile")
    names = {str(one.get("function")): float(one.get("weight", 1.0)) for one in losses}
    bce = [weight for name, weight in names.items() if "BCE" in name]
    recipe["loss"] = {"bce": max(bce, default=1.0), "dice": sum(w for n, w in names.items() if n.startswith("Dice"))}
    if others := [name for name in names if "BCE" not in name and not name.startswith("Dice")]:
        notes.append(f"{keys.path}: model.loss: not here: {', '.join(others)}")


def _offsets(keys: AskedKeys, notes: list[str]) -> tuple[list[list[int]], int]:
    """Offsets of the affinities and the erosion of their labels."""
    pipeline = str(keys.get("pipeline_profile"))
    label = keys.get("data.label_transform.profile")
    known = _PROFILES.get(pipeline, {}) or _PROFILES.get(str(label).removeprefix("label_"), {})
    published = known.get("label_transform", {})
    targets = keys.get("data.label_transform.targets", default=published.get("targets", []))
    erosion = keys.get("data.label_transform.erosion", default=published.get("erosion", 0))
    affinities = [one.get("kwargs", {}) for one in targets if one.get("name") == "affinity"]
    if not affinities:
        raise NeuropilError(
            f"{keys.path}: data.label_transform.targets: expected a target affinity, got "
            f"{[one.get('name') for one in targets] or label or pipeline}: without affinities nothing can be segmented"
        )
    if others := [str(one.get("name")) for one in targets if one.get("name") != "affinity"]:
        notes.append(f"{keys.path}: data.label_transform.targets: not here: {', '.join(others)}")
    sign = {"deepem": -1, "banis": 1}.get(str(affinities[0].get("affinity_mode")))
    if sign is None:
        got = affinities[0].get("affinity_mode")
        raise NeuropilError(f"{keys.path}: affinity_mode: expected deepem or banis, got {got!r}")
    found = [o.split("-") if isinstance(o, str) else o for one in affinities for o in one.get("offsets", [])]
    return [[sign * int(n) for n in offset] for offset in found], int(erosion or 0)


def _put_data(keys: AskedKeys, stage: AskedKeys, recipe: Nested, notes: list[str]) -> None:
    data: Nested = {}
    for ours, theirs in (("train", "train"), ("validation", "val")):
        images, labels = (keys.get(f"data.{theirs}.{name}", default=[]) for name in ("image", "label"))
        images, labels = ([one] if isinstance(one, str) else list(one) for one in (images, labels))
        folder = Path(str(keys.get(f"data.{theirs}.path", default="")))
        if images:
            pairs = zip(images, labels or [None] * len(images), strict=True)
            data[ours] = [{"image": str(folder / i), **({"labels": str(folder / t)} if t else {})} for i, t in pairs]
    image = stage.get("test.image")
    if isinstance(image, str):
        folder, labels = Path(str(stage.get("test.path", default=""))), stage.get("test.label")
        data["test"] = {"image": str(folder / image), **({"labels": str(folder / labels)} if labels else {})}
    size = keys.get("data.train.resolution", "data.label_transform.resolution")
    if size:
        data["voxel_size"] = size
    if keys.get("data.split_enabled", default=False):
        notes.append(f"{keys.path}: data.split_…: give data.train and data.validation each a box of the volume")
        keys.asked |= {f"data.split_{name}" for name in ("train_range", "val_range", "axis", "pad_val")}
    keys.get("data.data_transform.pad_size")
    recipe["data"] = data
    recipe["training"] = {
        "patch": keys.get("data.dataloader.patch_size", "model.input_size"),
        "batch": keys.get("data.dataloader.batch_size", default=1),
    }
    augment = keys.get("data.augmentation.profile")
    if augment == "aug_em_neuron":
        recipe["augment"] = dict(_AUGMENT)
        notes.append(
            f"{keys.path}: data.augmentation.profile {augment}: the same kinds, with strengths of this package"
        )
    elif augment:
        notes.append(f"{keys.path}: data.augmentation.profile {augment} is not known: that of this package is taken")


def _put_optimizer(keys: AskedKeys, recipe: Nested) -> None:
    steps = keys.get("optimization.n_steps_per_epoch", default=1000)
    epochs, most = keys.get("optimization.max_epochs", default=100), keys.get("optimization.max_steps")
    total = min(int(most), int(epochs) * int(steps)) if most else int(epochs) * int(steps)
    warm = keys.get("optimization.scheduler.warmup_epochs", "optimization.scheduler.params.warmup_epochs", default=0)
    ema = keys.get("optimization.ema.decay", default=0.999) if keys.get("optimization.ema.enabled") else 0.0
    recipe["optimizer"] = {
        "name": str(keys.get("optimization.optimizer.name", default="AdamW")).lower(),
        "learning_rate": keys.get("optimization.optimizer.lr", default=3e-4),
        "weight_decay": keys.get("optimization.optimizer.weight_decay", default=0.01),
        "betas": keys.get("optimization.optimizer.betas", default=[0.9, 0.999]),
        "schedule": "cosine",
        "warmup": int(warm) * int(steps),
        "clip": keys.get("optimization.gradient_clip_val", default=1.0),
        "accumulate": keys.get("optimization.accumulate_grad_batches", default=1),
        "ema": ema,
    }
    recipe["training"]["iterations"] = total


def _put_prediction(keys: AskedKeys, recipe: Nested, notes: list[str]) -> None:
    windows = ("inference.window", "inference.sliding_window")
    tile = keys.get(*(f"{name}.window_size" for name in windows), default=recipe["training"]["patch"])
    share = keys.get(*(f"{name}.overlap" for name in windows), default=0.5)
    views = keys.get("inference.test_time_augmentation.enabled", default=False)
    mode = keys.get("inference.test_time_augmentation.ensemble_mode", default="mean")
    for name in ("flip_axes", "rotation90_axes", "patch_first_local"):
        keys.get(f"inference.test_time_augmentation.{name}")
    for name in ("crop_pad", "select_channel", "model.crop_pad", "model.select_channel"):
        keys.get(f"inference.{name}")  # predictions lie on the image, of the nearest edges
    predict = {"tile": tile, "overlap": [int(n * share) for n in tile], "tta": 16 if views else 1}
    recipe["predict"] = {**predict, "tta_mode": mode if mode in ("mean", "min", "max") else "mean"}
    steps = keys.get("decoding.steps", "inference.decoding", default=[])
    waterz = [one.get("kwargs", {}) for one in steps if "waterz" in str(one.get("template", one.get("name")))]
    if steps and not waterz:
        notes.append(f"{keys.path}: decoding: {', '.join(_names(steps))} is not here; fragments are agglomerated")
    if waterz:
        recipe["segment"] = _segment(waterz[0])


def _names(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    return [str(one.get("template", one.get("name"))) for one in steps]


def _segment(waterz: Mapping[str, Any]) -> Nested:
    from neuropil.compat.waterz import parse_function

    at = waterz.get("thresholds", 0.5)
    low, high = waterz.get("aff_threshold", (1e-4, 0.9999))
    return {
        "threshold": 1 - float(at[0] if isinstance(at, list) else at),
        "score": parse_function(str(waterz.get("merge_function", "aff50_his256"))).score,
        "low": low,
        "high": high,
        "min_size": max(int(waterz.get("dust_merge_size", 0) or 0), int(waterz.get("dust_remove_size", 0) or 0)),
    }
