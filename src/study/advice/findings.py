"""Results of a study of documents: accuracy of each arm, differences, and the best arm."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from study.arms import Arm
from study.evidence.stats import Contrast, Estimate, accuracy, contrast
from study.pages.costs import cost_table
from study.pages.experiment import Experiment
from study.params import Statistics
from study.worlds.world import Split


@dataclass(frozen=True)
class Findings:
    """Results of a study of documents.

    Attributes:
        experiment: the study.
        rows: of the user's questions.
        ends: rows about the documents' own sentences.
        costs: of each run.
    """

    experiment: Experiment
    rows: pd.DataFrame
    ends: pd.DataFrame
    costs: pd.DataFrame

    @property
    def statistics(self) -> Statistics:
        """Confidence of all intervals, and the margin."""
        return self.experiment.params.statistics

    @property
    def specs(self) -> dict[str, Arm]:
        """The arms of the study."""
        return self.experiment.params.arms

    @property
    def arms(self) -> list[str]:
        """The arms that were evaluated, in the study's order."""
        return [arm for arm in self.specs if arm in set(self.rows["arm"])]

    @property
    def tuned(self) -> list[str]:
        """The arms that are fine-tuned and have no context."""
        return [arm for arm in self.arms if self.specs[arm].train and not self.specs[arm].context]

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """Accuracy on the user's questions, by arm."""
        return {arm: accuracy(of_arm(self.rows, arm), self.statistics) for arm in self.arms}

    @cached_property
    def top(self) -> str:
        """The most accurate arm; of equal ones the first, which needs the least."""
        return max(self.arms, key=lambda arm: self.estimates[arm].value)

    @cached_property
    def best(self) -> str:
        """The arm that needs the least of those within the margin of the most accurate one and not measurably worse."""
        enough = self.estimates[self.top].value - self.statistics.margin
        near = [arm for arm in self.arms if self.estimates[arm].value >= enough]
        return next(arm for arm in near if arm == self.top or self.interval(arm, self.top)[2] >= 0)

    @property
    def untouched(self) -> str | None:
        """The arm without documents."""
        return next((arm for arm in self.arms if not (self.specs[arm].train or self.specs[arm].context)), None)

    @property
    def nothing_helps(self) -> bool:
        """Whether no arm is measurably better than the one without documents, or the best is not above chance."""
        best = self.estimates[self.best]
        return self.no_gain or best.low <= best.chance

    @cached_property
    def no_gain(self) -> bool:
        """Whether no arm is measurably better than the one without documents."""
        floor = self.untouched
        if floor is None:
            return False
        return not any(self.interval(arm, floor)[1] > 0 for arm in self.arms if arm != floor)

    def difference(self, arm: str, other: str) -> Contrast:
        """One arm's accuracy minus another's."""
        return contrast(of_arm(self.rows, arm), of_arm(self.rows, other))

    def interval(self, arm: str, other: str) -> tuple[float, float, float]:
        """The difference of two arms with its interval."""
        found = self.difference(arm, other)
        return found.value, *found.interval(self.statistics.confidence)

    @cached_property
    def as_good(self) -> list[str]:
        """Arms whose difference to the best one has an interval above minus the margin."""
        others = [arm for arm in self.arms if arm != self.best]
        return [arm for arm in others if self.interval(arm, self.best)[1] > -self.statistics.margin]

    @property
    def good(self) -> list[str]:
        """The best arm and those as good, in the study's order."""
        return [arm for arm in self.arms if arm in (self.best, *self.as_good)]

    @cached_property
    def not_worse(self) -> list[str]:
        """The best arm and those that are not measurably worse, in the study's order."""
        return [arm for arm in self.arms if arm in self.good or self.interval(arm, self.best)[2] >= 0]


def findings(experiment: Experiment) -> Findings:
    """Results of the finished runs.

    Raises:
        ValueError: if none is finished, or no question of a user was evaluated.
    """
    rows = experiment.rows()
    asked = rows[rows["split"] == Split.ASKED] if len(rows) else rows
    if asked.empty:
        raise ValueError("no question was answered yet; run the trials, and give a file of questions")
    return Findings(experiment, asked, rows[rows["split"] == Split.STATED], cost_table(experiment))


def of_arm(rows: pd.DataFrame, arm: str | None) -> pd.DataFrame:
    """The rows of one arm, with the compared value."""
    return rows[rows["arm"] == arm].assign(value=lambda part: part["correct"].astype(float))
