"""What an index knows of itself that every finding against it says: near-duplicates, and how often chance scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forensics.calibration import Calibration, Chance, one_in, verbal
from forensics.errors import UsageError
from forensics.flows.calibration_files import usable_calibration
from forensics.index.groups import Duplicates, read_duplicates
from forensics.thresholds import Threshold

if TYPE_CHECKING:
    from forensics.index import Index
    from forensics.types import Scalar

__all__ = ["IndexFacts", "index_facts", "stated_threshold"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFacts:
    """Near-duplicates and calibration of an index, as far as they are there and hold for this audit.

    Attributes
    ----------
    calibration : Calibration or None
    duplicates : Duplicates or None
    notes : tuple of str
        What is missing, a sentence each.
    """

    calibration: Calibration | None
    duplicates: Duplicates | None
    notes: tuple[str, ...]

    def measurements(self, belief: float, reference: int, *, threshold: float, searched: int) -> dict[str, Scalar]:
        """Return what a finding adds to its measurements.

        Parameters
        ----------
        belief : float
            Of the finding.
        reference : int
            Number of its reference in the index.
        threshold : float
            From which beliefs are findings.
        searched : int
            Images of the audit that were searched.
        """
        found: dict[str, Scalar] = {}
        if self.duplicates is not None:
            found["reference_group"] = self.duplicates.size_of(reference)
        if self.calibration is not None:
            chance, expected = self.calibration.chance(belief), self.calibration.chance(threshold)
            found |= {
                "p_unrelated": _significant(chance.value),
                "p_unrelated_low": _significant(chance.low),
                "p_unrelated_high": _significant(chance.high),
                "expected_false": _significant(expected.value * searched),
                "expected_false_high": _significant(expected.high * searched),
                "likelihood_ratio": _significant(self.calibration.likelihood_ratio(belief)),
            }
        return found

    def reasons(self, belief: float, reference: int, *, threshold: float, searched: int) -> tuple[str, ...]:
        """Return the same as sentences."""
        sentences = []
        if self.duplicates is not None:
            size = self.duplicates.size_of(reference)
            sentences.append(
                f"The reference is one of {size} near-duplicates in the index; the more often a picture stands among "
                "the training images, the likelier it is memorised."
                if size > 1
                else "The reference has no near-duplicate in the index."
            )
        if self.calibration is not None:
            chance, expected = self.calibration.chance(belief), self.calibration.chance(threshold)
            ratio = self.calibration.likelihood_ratio(belief)
            sentences += [
                f"Against this index an unrelated picture scores as high in {_chance(chance)}.",
                f"At the threshold {expected.value * searched:.2g} false findings are expected among the {searched} "
                f"images searched, at most {expected.high * searched:.2g}.",
                f"Taken by itself, the score is {verbal(ratio)} for a copy over an unrelated picture (likelihood ratio "
                f"of {ratio:.2g}; {chance.of} unrelated queries can show no more than {chance.of / 3:.0f}).",
            ]
        return tuple(sentences)

    def to_dict(self, *, threshold: float, searched: int) -> dict[str, Any]:
        """Return what ``run.json`` says of it, as plain values."""
        found: dict[str, Any] = {}
        if self.duplicates is not None:
            found["duplicates"] = {
                "compared": self.duplicates.compared,
                "groups": len(self.duplicates.groups),
                "images": self.duplicates.images,
                "at_least": dict(self.duplicates.rule.at_least),
            }
        if self.calibration is not None:
            chance = self.calibration.chance(threshold)
            found["calibration"] = {
                "queries": len(self.calibration),
                "population": self.calibration.population,
                "false_alarms_at_threshold": {"value": chance.value, "low": chance.low, "high": chance.high},
                "expected_false": {
                    "value": chance.value * searched, "low": chance.low * searched, "high": chance.high * searched,
                },
            }  # fmt: skip
        return found

    def summary(self, *, threshold: float, searched: int) -> tuple[str, ...]:
        """Return the notes of the report: what is missing, and what the calibration expects of this audit."""
        if self.calibration is None:
            return self.notes
        chance = self.calibration.chance(threshold)
        return (
            *self.notes,
            f"Calibrated with {len(self.calibration)} unrelated queries ({self.calibration.population}): at the "
            f"threshold an unrelated picture is flagged in {_chance(chance)}; among the {searched} images searched "
            f"{chance.value * searched:.2g} false findings are expected, at most {chance.high * searched:.2g}.",
        )


def index_facts(index: Index, key: Mapping[str, Any]) -> IndexFacts:
    """Return what an index keeps of itself; ``key`` is that of the audit, see :func:`calibration_key`."""
    calibration, why = usable_calibration(index, key)
    duplicates = read_duplicates(index)
    notes = [why] if why else []
    if duplicates is None:
        notes.append(
            "How many near-duplicates a reference has in this index was not counted, or the index changed since. See: "
            f"forensics index duplicates {index.directory}"
        )
    return IndexFacts(calibration=calibration, duplicates=duplicates, notes=tuple(notes))


def stated_threshold(facts: IndexFacts, rate: float, table: Mapping[str, Threshold]) -> dict[str, Threshold]:
    """Return the table of thresholds with the belief from which on ``rate`` of unrelated pictures are flagged.

    Raises
    ------
    UsageError
        If the index has no calibration for this audit, or one of too few queries for that rate.
    """
    if facts.calibration is None:
        raise UsageError(f"--false-alarms {rate:g} given, which needs a calibration. {facts.notes[0]}")
    source = (
        f"calibration of the index: {rate:g} of unrelated pictures reach it, from {len(facts.calibration)} unrelated "
        "queries"
    )
    belief = facts.calibration.belief_at(rate)
    return {**table, "belief": Threshold(value=belief, unit=table["belief"].unit, source=source)}


def _chance(chance: Chance) -> str:
    seen = f"{chance.seen} of {chance.of} did" if chance.seen else f"none of {chance.of} did"
    return f"{one_in(chance.value)} cases ({seen}; 95 % interval: {_low(chance.low)} to {one_in(chance.high)})"


def _low(value: float) -> str:
    return "practically none" if value < 1e-6 else one_in(value)


def _significant(value: float) -> float:
    return float(f"{value:.3g}")
