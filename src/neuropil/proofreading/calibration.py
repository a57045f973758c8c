"""The probability that the present state of a question is wrong, by logistic regression on its features."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropil.errors import NeuropilError
from neuropil.inputs import expect_file
from neuropil.proofreading.candidates import Candidates, Floats
from neuropil.volumes.atomic import write_text
from neuropil.volumes.marks import KEY, MADE_BY

SHIPPED = Path(__file__).parent / "calibration.json"
"""Fitted on the labelled volumes that it names; used if no other is given."""

FEATURES = ("mean", "lead", "likely", "strong", "contact", "small", "large", "outer_small", "outer_large",
            "straight", "reach_small", "reach_large")  # fmt: skip
"""Features of each question."""
OF_CONTACT, ELSEWHERE = slice(0, 10), slice(5, 12)
"""Those that tell of the contact, and those that no affinity changes."""
LOWEST = 0.03
"""Affinities are clipped to [LOWEST, 1 - LOWEST] before the logit."""


def features(found: Candidates) -> Floats:
    """Features of each question, float64 ``[question, feature]``, in the order of ``FEATURES``."""
    sides = np.stack([found.side_a, found.side_b])
    mean = _logit(found.mean)
    reach = np.log(np.stack([found.reach_small, found.reach_large]) + 0.05)
    return np.stack(
        [
            mean, np.where(found.join, mean - _logit(found.best), 0), np.log1p(found.likely), np.log1p(found.strong),
            np.log(np.maximum(found.contact, 1)), *np.log(np.sort(np.maximum(sides, 1), axis=0)),
            found.outer_small, found.outer_large, found.straight, *reach,
        ],
        axis=1,
    )  # fmt: skip


def _logit(p: Floats) -> Floats:
    bounded = np.clip(p, LOWEST, 1 - LOWEST)
    return np.asarray(np.log(bounded / (1 - bounded)))


@dataclass(frozen=True)
class Regression:
    """One logistic regression on standardised features."""

    middle: tuple[float, ...]
    spread: tuple[float, ...]
    weight: tuple[float, ...]
    bias: float
    questions: int
    """Number of questions that it was fitted on."""
    wrong: int
    """Number of these whose present state was wrong."""

    @classmethod
    def fit(cls, x: Floats, wrong: NDArray[Any], ridge: float = 1.0) -> Regression:
        """Maximum likelihood with an L2 penalty of ``ridge``/2 on the weights, by at most 50 Newton steps.

        Args:
            x: ``[question, feature]``; without questions every probability is 0.5.
            wrong: ``[question]``, bool, or probabilities from 0 to 1.
            ridge: factor of the penalty.
        """
        middle, spread = (
            (x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)) if len(x) else (np.zeros(x.shape[1]), np.ones(x.shape[1]))
        )
        z = np.column_stack([(x - middle) / spread, np.ones(len(x))])
        penalty = np.diag([ridge] * x.shape[1] + [1e-3])
        theta = np.zeros(x.shape[1] + 1)
        for _ in range(50):
            p = 1 / (1 + np.exp(-z @ theta))
            gradient = z.T @ (wrong - p) - penalty @ theta
            step = np.linalg.solve((z * (p * (1 - p))[:, None]).T @ z + penalty, gradient)
            theta += step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
            if np.abs(step).max() < 1e-9:
                break
        rounded = [float(np.round(value, 6)) for value in theta]
        return cls(
            tuple(np.round(middle, 6).tolist()), tuple(np.round(spread, 6).tolist()), tuple(rounded[:-1]), rounded[-1],
            len(x), int(np.count_nonzero(wrong)),
        )  # fmt: skip

    def probability(self, x: Floats) -> Floats:
        """Probability of each row of features, from 0 to 1."""
        z = (x - np.array(self.middle)) / np.array(self.spread)
        return np.asarray(1 / (1 + np.exp(-np.clip(z @ np.array(self.weight) + self.bias, -50, 50))))


@dataclass(frozen=True)
class Causes:
    """Two independent causes of a wrong state (noisy-or), each with its own regression.

    One is visible at the contact. The other is not: two branches of one neuron may touch here and be connected only far
    away, mostly outside the volume. Without the second cause, confident affinities at the contact would give such a
    question between two large sides almost no rank.
    """

    contact: Regression
    """Sees only ``OF_CONTACT``."""
    elsewhere: Regression
    """Sees only ``ELSEWHERE``."""

    @classmethod
    def fit(cls, x: Floats, wrong: NDArray[np.bool_]) -> Causes:
        """Fit by 15 steps of expectation maximisation; the hidden variable is the cause of each wrong state."""
        x, seen = x[:, OF_CONTACT], x[:, ELSEWHERE]
        contact, elsewhere = Regression.fit(x, wrong), Regression.fit(seen, wrong)
        p, q = contact.probability(x), elsewhere.probability(seen) / 3
        for _ in range(15):
            either = np.maximum(1 - (1 - p) * (1 - q), 1e-12)
            contact, elsewhere = Regression.fit(x, wrong * p / either), Regression.fit(seen, wrong * q / either)
            p, q = contact.probability(x), elsewhere.probability(seen)
        return cls(contact, elsewhere)

    def probability(self, x: Floats) -> Floats:
        """Probability of each row of features that at least one cause is present."""
        right = 1 - self.elsewhere.probability(x[:, ELSEWHERE])
        return np.asarray(1 - (1 - self.contact.probability(x[:, OF_CONTACT])) * right)


@dataclass(frozen=True)
class Calibration:
    """Regressions for join questions and for separate questions."""

    join: Causes
    separate: Causes
    made_from: str
    """The affinities and labels that it was fitted on."""

    @classmethod
    def fit(cls, found: Candidates, wrong: NDArray[np.bool_], made_from: str) -> Calibration:
        """Fit both to questions and whether each one's present state was wrong."""
        x = features(found)
        return cls(
            Causes.fit(x[found.join], wrong[found.join]), Causes.fit(x[~found.join], wrong[~found.join]), made_from
        )

    def probability(self, found: Candidates) -> Floats:
        """Probability that the present state is wrong, of each question."""
        x = features(found)
        return np.where(found.join, self.join.probability(x), self.separate.probability(x))

    def how_well(self, found: Candidates, wrong: NDArray[np.bool_]) -> list[str]:
        """A line for each kind of question: how many were wrong, calibration error and AUC of the probabilities."""
        probability, lines = self.probability(found), []
        for name, kind in (("join", found.join), ("separate", ~found.join)):
            error = calibration_error(probability[kind], wrong[kind])
            area = area_under_curve(probability[kind], wrong[kind])
            lines.append(
                f"{name:<9} {int(kind.sum())} answered, {int(wrong[kind].sum())} wrong, calibration error {error:.4f}, "
                f"AUC {area:.3f}"
            )
        return lines

    def save(self, path: Path | str) -> None:
        """Write it as JSON."""
        write_text(Path(path), json.dumps({KEY: MADE_BY, **self._values()}, indent=1) + "\n")

    def _values(self) -> dict[str, Any]:
        return {"version": 3, "features": FEATURES, **asdict(self)}

    @classmethod
    def load(cls, path: Path | str = SHIPPED) -> Calibration:
        """Read what :meth:`save` wrote.

        Raises:
            NeuropilError: the file is no calibration, or one with other features.
        """
        expect_file(path)
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            if (values["version"], tuple(values["features"])) != (3, FEATURES):
                raise ValueError
            return cls(_causes(values["join"]), _causes(values["separate"]), str(values["made_from"]))
        except OSError as error:
            raise NeuropilError(f"expected a calibration, got {error.strerror}, in {path}") from None
        except (ValueError, KeyError, TypeError):
            raise NeuropilError(
                f"expected a calibration of version 3, got another file, in {path}; make it with rank --calibrate"
            ) from None


def load_calibration(path: Path | None = None) -> Calibration:
    """Load a calibration from a file, or the one that comes with the package.

    Args:
        path: a file of :meth:`Calibration.save`; None: that of the package.

    >>> load_calibration().join.contact.questions > 0
    True
    """
    return Calibration.load(path or SHIPPED)


def _causes(values: dict[str, Any]) -> Causes:
    return Causes(
        _regression(values["contact"], len(FEATURES[OF_CONTACT])),
        _regression(values["elsewhere"], len(FEATURES[ELSEWHERE])),
    )


def _regression(values: dict[str, Any], features: int) -> Regression:
    columns = {name: tuple(float(v) for v in values[name]) for name in ("middle", "spread", "weight")}
    if any(len(column) != features for column in columns.values()):
        raise ValueError
    return Regression(
        **columns, bias=float(values["bias"]), questions=int(values["questions"]), wrong=int(values["wrong"])
    )


def calibration_error(probability: Floats, wrong: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: mean difference of predicted and observed share in bins with equal counts.

    >>> calibration_error(np.array([0.0, 0.0, 1.0, 1.0]), np.array([False, False, True, True]), bins=2)
    0.0
    """
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(abs(probability[p].mean() - wrong[p].mean()) * len(p) for p in parts) / max(len(order), 1))


def area_under_curve(probability: Floats, wrong: NDArray[np.bool_]) -> float:
    """AUC: chance that a wrong state has a higher probability than a right one, ties count half; NaN without both.

    >>> area_under_curve(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    0.75
    """
    values, rank = np.unique(probability, return_inverse=True)
    right = np.bincount(rank[~wrong], minlength=len(values))
    below = np.concatenate([[0], np.cumsum(right)[:-1]])
    pairs = int(wrong.sum()) * int((~wrong).sum())
    return float((below + right / 2)[rank[wrong]].sum() / pairs) if pairs else float("nan")
