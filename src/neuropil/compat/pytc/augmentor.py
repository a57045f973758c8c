"""Translate ``AUGMENTOR`` into the section ``augment`` of a recipe.

Each kind is drawn independently with its own probability, so that most samples have several, as in the classic package.
"""

from __future__ import annotations

from math import inf

from neuropil.compat.pytc.draft import Draft

_DEFECTS = {
    "MISSINGSECTION": "missing",
    "MISSINGPARTS": "partly_missing",
    "MOTIONBLUR": "motion",
    "CUTNOISE": "cut_noise",
    "CUTBLUR": "cut_blur",
}

_OTHERWISE = {
    "MISSINGSECTION": "sections are blanked, where the classic program cuts them out",
    "MISSINGPARTS": "two sections are torn along a line, where the classic program folds every second one",
    "MISALIGNMENT": "sections are displaced, where the classic program rotates some of them",
}
"""Kinds that differ from the classic ones, and how."""


def put_augmentation(draft: Draft) -> None:
    """Translate all of ``AUGMENTOR``."""
    _put_geometry(draft)
    _put_grey_values(draft)
    _put_defects(draft)


def _on(draft: Draft, name: str) -> bool:
    """Whether an augmentation is switched on, by its own switch and by ``AUGMENTOR.ENABLED``."""
    if name in ("MISSINGSECTION", "MISALIGNMENT") and draft.settings["DATASET.DO_2D"]:
        return False  # as in the classic package: a sample of one section has no neighbours
    everything, one = draft.settings["AUGMENTOR.ENABLED"], draft.settings[f"AUGMENTOR.{name}.ENABLED"]
    return bool(everything) and bool(one)


def _share(draft: Draft, name: str) -> float:
    """The probability of an augmentation; 0 where it is off."""
    probability = _number(draft, f"{name}.P", 0, 1)
    return probability if _on(draft, name) else 0.0


def _number(draft: Draft, name: str, least: float, most: float = inf) -> float:
    """A number of ``AUGMENTOR``; outside of its limits it is a problem, and ``least`` is returned."""
    value = float(draft.settings[f"AUGMENTOR.{name}"])
    if not least <= value <= most:
        limits = f"≥ {least:g}" if most == inf else f"from {least:g} to {most:g}"
        draft.problem(f"AUGMENTOR.{name}", f"expected a value {limits}, got {value:g}")
        return least
    return value


def _shared(draft: Draft, least: float, most: float, *names: str) -> float:
    """One number for several augmentations that share it here: the largest of those that are switched on."""
    values = {name: _number(draft, name, least, most) for name in names}
    on = {name: value for name, value in values.items() if _on(draft, name.partition(".")[0])}
    return _largest(draft, on or values)


def _largest(draft: Draft, values: dict[str, float]) -> float:
    """The largest of several numbers that are one number here; if others differ and are not 0, a note says so."""
    largest = max(values.values())
    used = {name: value for name, value in values.items() if value}
    if len(set(used.values())) > 1:
        draft.note(f"{' and '.join(used)} are one number here: {largest:g}", *(f"AUGMENTOR.{name}" for name in used))
    return largest


def _put_geometry(draft: Draft) -> None:
    settings = draft.settings
    turns = _share(draft, "ROTATE")
    quarter = bool(settings["AUGMENTOR.ROTATE.ROT90"])
    # Quarter turns are mirror images with y and x exchanged: one switch for both.
    mirror = _on(draft, "FLIP") or (turns > 0 and quarter)
    if mirror and not _on(draft, "FLIP"):
        draft.note("ROTATE.ROT90 still mirrors samples; switch off AUGMENTOR.ROTATE, too", "AUGMENTOR.FLIP.ENABLED")
    if quarter and turns:
        draft.note("quarter turns are flips and exchanges of axes, each in half of the samples", "AUGMENTOR.ROTATE.P")
    draft.put("augment.flip", mirror, "AUGMENTOR.FLIP.ENABLED")
    draft.put("augment.transpose", mirror, "AUGMENTOR.FLIP.ENABLED")
    free = 0.0 if quarter else turns
    stretch, bend = _share(draft, "RESCALE"), _share(draft, "ELASTIC")
    draft.put("augment.rotate", 180.0 if free else 0.0, "AUGMENTOR.ROTATE.ROT90")
    draft.put("augment.scale", 0.25 if stretch else 0.0, "AUGMENTOR.RESCALE.ENABLED")
    alpha = _number(draft, "ELASTIC.ALPHA", 0)
    sigma = _number(draft, "ELASTIC.SIGMA", 1e-3)
    # The classic displacements are uniform noise from -ALPHA to ALPHA, smoothed by a Gaussian of SIGMA. These distances
    # and displacements of control points give the same standard deviation of displacements and of their differences.
    draft.put("augment.elastic", 0.336 * alpha / sigma if bend else 0.0, "AUGMENTOR.ELASTIC.ALPHA")
    draft.put("augment.elastic_spacing", max(4, round(2.5 * sigma)), "AUGMENTOR.ELASTIC.SIGMA")
    if free:  # rotation by any angle shares its probability with elastic deformation and scaling here
        warps = {"ROTATE.P": free, "RESCALE.P": stretch, "ELASTIC.P": bend}
        draft.put("augment.warp_probability", _largest(draft, warps), "AUGMENTOR.ELASTIC.P")
    else:
        draft.put("augment.warp_probability", 1.0, "AUGMENTOR.ENABLED")
        draft.put("augment.scale_probability", stretch, "AUGMENTOR.RESCALE.P")
        draft.put("augment.elastic_probability", bend, "AUGMENTOR.ELASTIC.P")
    # Half of the misaligned samples are displaced from one section on, half in one section only.
    moved, moves = _share(draft, "MISALIGNMENT"), "AUGMENTOR.MISALIGNMENT.DISPLACEMENT"
    draft.put("augment.step", moved / 2, "AUGMENTOR.MISALIGNMENT.P")
    draft.put("augment.slip", moved / 2, "AUGMENTOR.MISALIGNMENT.P")
    draft.put("augment.displacement", settings[moves], moves)


def _put_grey_values(draft: Draft) -> None:
    on = _on(draft, "GRAYSCALE")
    for name, strength in (("contrast", 0.3), ("brightness", 0.3), ("gamma", 1.0)):
        draft.put(f"augment.{name}", strength if on else 0.0, "AUGMENTOR.GRAYSCALE.ENABLED")
    draft.put("augment.intensity_probability", _share(draft, "GRAYSCALE"), "AUGMENTOR.GRAYSCALE.P")


def _put_defects(draft: Draft) -> None:
    settings = draft.settings
    shares = {ours: _share(draft, theirs) for theirs, ours in _DEFECTS.items()}
    for theirs, how in _OTHERWISE.items():
        if _share(draft, theirs):
            draft.note(how, f"AUGMENTOR.{theirs}.ENABLED", f"AUGMENTOR.{theirs}.P")
    draft.put("augment.several", True, "AUGMENTOR.ENABLED")
    draft.put("augment.exact", True, "AUGMENTOR.ENABLED")
    for theirs, ours in _DEFECTS.items():
        draft.put(f"augment.{ours}", shares[ours], f"AUGMENTOR.{theirs}.P")
    sections = _shared(draft, 1, inf, "MISSINGSECTION.NUM_SECTION", "MOTIONBLUR.SECTIONS")
    draft.put("augment.defect_sections", int(sections), "AUGMENTOR.MISSINGSECTION.NUM_SECTION")
    draft.put("augment.motion_length", settings["AUGMENTOR.MOTIONBLUR.KERNEL_SIZE"], "AUGMENTOR.MOTIONBLUR.KERNEL_SIZE")
    length = _shared(draft, 0, 1, "CUTBLUR.LENGTH_RATIO", "CUTNOISE.LENGTH_RATIO")
    draft.put("augment.cut_size", length, "AUGMENTOR.CUTBLUR.LENGTH_RATIO")
    # The classic noise is uniform up to ± SCALE, with a standard deviation of SCALE / √3.
    draft.put("augment.noise", 3**-0.5 * float(settings["AUGMENTOR.CUTNOISE.SCALE"]), "AUGMENTOR.CUTNOISE.SCALE")
