"""A probe for leaks: it sees the words of questions and never a document.

A naive Bayes classifier over the words of options, trained on some questions of a dataset and evaluated on the others.
It would learn a name that is right more often than wrong; on sound questions it stays at chance.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from math import log
from typing import NamedTuple

from study.data.questions import Question
from study.sums import added

FOLDS = 5


class ProbeResult(NamedTuple):
    """How often the probe was right.

    Attributes:
        right: questions answered correctly; a tie of n options counts for its share.
        expected: number that guessing gets right.
        variance: of that number.
        questions: how many were evaluated.
    """

    right: float
    expected: float
    variance: float
    questions: int

    @property
    def z(self) -> float:
        """Standard deviations above chance."""
        return (self.right - self.expected) / self.variance**0.5 if self.variance else 0.0


def features(question: Question, option: int) -> list[str]:
    """The words of one option, its place and its length, and each word joined with the kind of the question."""
    words = re.findall(r"[\w-]+", question.options[option])
    return [*words, f"place {option}", f"length {len(words)}", *(f"{question.split} {word}" for word in words)]


def bag_of_words_probe(questions: Sequence[Question], seed: int) -> ProbeResult:
    """Accuracy of the probe, cross-validated with whole clusters.

    If every name is right as often as wrong, cross-validation falls below chance: the probe has seen the true name only
    where it is wrong.
    """
    clusters = sorted({question.cluster for question in questions})
    fold = {cluster: k % FOLDS for k, cluster in enumerate(random.Random(seed).sample(clusters, len(clusters)))}
    parts = [
        trained_and_asked(
            [q for q in questions if fold[q.cluster] != k], [q for q in questions if fold[q.cluster] == k]
        )
        for k in range(FOLDS)
    ]
    return ProbeResult(*(added(values) for values in zip(*parts, strict=True)))


def trained_and_asked(seen: Sequence[Question], asked: Sequence[Question]) -> ProbeResult:
    """Accuracy on some questions of the probe trained on others."""
    true: Counter[str] = Counter()
    false: Counter[str] = Counter()
    for question in seen:
        for option in range(len(question.options)):
            (true if option in question.answers else false).update(features(question, option))
    right = expected = variance = 0.0
    for question in asked:
        scores = [
            added(log(true[feature] + 0.5) - log(false[feature] + 0.5) for feature in features(question, option))
            for option in range(len(question.options))
        ]
        best = [option for option, score in enumerate(scores) if score >= max(scores) - 1e-9]
        right += sum(option in question.answers for option in best) / len(best)
        expected += question.chance
        variance += question.chance * (1 - question.chance)
    return ProbeResult(right, expected, variance, len(asked))
