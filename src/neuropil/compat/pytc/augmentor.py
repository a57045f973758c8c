"""``AUGMENTOR``: what varies in training, in our terms.

The classic package lets all kinds of damage meet in one sample; here a sample has one kind at most, and the classic
probabilities say in which proportion.
"""

from __future__ import annotations

from neuropil.compat.pytc.draft import Draft

_DEFECTS = {
    "MISSINGSECTION": "missing",
    "MISSINGPARTS": "partly_missing",
    "MOTIONBLUR": "motion",
    "CUTNOISE": "cut_noise",
    "CUTBLUR": "cut_blur",
}


def put_augmentation(draft: Draft) -> None:
    """Translate all of ``AUGMENTOR``."""
    _put_geometry(draft)
    _put_grey_values(draft)
    _put_defects(draft)


def _on(draft: Draft, name: str) -> bool:
    """Whether an augmentation is switched on, by itself and by the switch of all."""
    everything, one = draft.settings["AUGMENTOR.ENABLED"], draft.settings[f"AUGMENTOR.{name}.ENABLED"]
    return bool(everything) and bool(one)


def _share(draft: Draft, name: str) -> float:
    """The probability of an augmentation; 0 where it is off."""
    probability = float(draft.settings[f"AUGMENTOR.{name}.P"])
    if not 0 <= probability <= 1:
        raise draft.refuse(f"AUGMENTOR.{name}.P", f"expected a probability from 0 to 1, got {probability}")
    return probability if _on(draft, name) else 0.0


def _put_geometry(draft: Draft) -> None:
    settings = draft.settings
    turns = _share(draft, "ROTATE")
    quarter = bool(settings["AUGMENTOR.ROTATE.ROT90"])
    # Quarter turns are mirror images with y and x exchanged: one switch for both.
    mirror = _on(draft, "FLIP") or (turns > 0 and quarter)
    draft.put("augment.flip", mirror, "AUGMENTOR.FLIP.ENABLED")
    draft.put("augment.transpose", mirror, "AUGMENTOR.FLIP.ENABLED")
    free = 0.0 if quarter else turns
    stretch, bend = _share(draft, "RESCALE"), _share(draft, "ELASTIC")
    draft.put("augment.rotate", 180.0 if free else 0.0, "AUGMENTOR.ROTATE.ROT90")
    draft.put("augment.scale", 0.25 if stretch else 0.0, "AUGMENTOR.RESCALE.ENABLED")
    alpha, sigma = float(settings["AUGMENTOR.ELASTIC.ALPHA"]), float(settings["AUGMENTOR.ELASTIC.SIGMA"])
    if alpha < 0 or sigma <= 0:
        raise draft.refuse("AUGMENTOR.ELASTIC.SIGMA", f"expected ALPHA ≥ 0 and SIGMA > 0, got {alpha} and {sigma}")
    # Uniform noise from -1 to 1 has deviation 0.58; a Gaussian of deviation s leaves 1/(3.54 s) of it. The same
    # deviation as ALPHA times that has a uniform displacement of up to 0.28 ALPHA / SIGMA at each control point.
    draft.put("augment.elastic", 0.28 * alpha / sigma if bend else 0.0, "AUGMENTOR.ELASTIC.ALPHA")
    draft.put("augment.elastic_spacing", max(4, round(4 * sigma)), "AUGMENTOR.ELASTIC.SIGMA")
    draft.put("augment.warp_probability", max(free, stretch, bend), "AUGMENTOR.ELASTIC.P")
    # Half of the misaligned samples are displaced from one section on, half in one section only.
    moved = _share(draft, "MISALIGNMENT")
    draft.put("augment.step", moved / 2, "AUGMENTOR.MISALIGNMENT.P")
    draft.put("augment.slip", moved / 2, "AUGMENTOR.MISALIGNMENT.P")
    draft.put("augment.displacement", settings["AUGMENTOR.MISALIGNMENT.DISPLACEMENT"], "AUGMENTOR.MISALIGNMENT.P")


def _put_grey_values(draft: Draft) -> None:
    on = _on(draft, "GRAYSCALE")
    for name, strength in (("contrast", 0.3), ("brightness", 0.3), ("gamma", 1.0)):
        draft.put(f"augment.{name}", strength if on else 0.0, "AUGMENTOR.GRAYSCALE.ENABLED")
    draft.put("augment.intensity_probability", _share(draft, "GRAYSCALE"), "AUGMENTOR.GRAYSCALE.P")


def _put_defects(draft: Draft) -> None:
    settings = draft.settings
    shares = {ours: _share(draft, theirs) for theirs, ours in _DEFECTS.items()}
    total = max(sum(shares.values()), 1.0)
    for theirs, ours in _DEFECTS.items():
        draft.put(f"augment.{ours}", int(1000 * shares[ours] / total) / 1000, f"AUGMENTOR.{theirs}.P")
    sections = max(settings["AUGMENTOR.MISSINGSECTION.NUM_SECTION"], settings["AUGMENTOR.MOTIONBLUR.SECTIONS"])
    draft.put("augment.defect_sections", sections, "AUGMENTOR.MISSINGSECTION.NUM_SECTION")
    draft.put("augment.motion_length", settings["AUGMENTOR.MOTIONBLUR.KERNEL_SIZE"], "AUGMENTOR.MOTIONBLUR.KERNEL_SIZE")
    lengths = [float(settings[f"AUGMENTOR.{name}.LENGTH_RATIO"]) for name in ("CUTBLUR", "CUTNOISE")]
    draft.put("augment.cut_size", max(lengths), "AUGMENTOR.CUTBLUR.LENGTH_RATIO")
    # Noise was uniform up to ± SCALE, which has a deviation of 0.58 SCALE.
    draft.put("augment.noise", 0.58 * float(settings["AUGMENTOR.CUTNOISE.SCALE"]), "AUGMENTOR.CUTNOISE.SCALE")
