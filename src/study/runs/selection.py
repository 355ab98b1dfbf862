"""The learning rate and splitting of each arm, chosen on seeds that the study does not test on.

Rates by the stated facts alone; between sentences and whole documents, where an arm takes the better, by all questions.
"""

from collections.abc import Sequence

import pandas as pd

from study.arms import Arm
from study.data.questions import Splitting
from study.lm.hub import identity
from study.params import Choice, Params
from study.runs.run import DIVERGED, EvaluationRun, prepare
from study.runs.store import Store, content_hash
from study.sums import added
from study.worlds.world import Split

UNIT = ["world", "seed"]
BESIDE = (Split.REVERSAL, Split.TWO_HOPS, Split.ONE_STEP)
_several: dict[str, bool] = {}  # by dataset


def selection_runs(params: Params, arms: Sequence[str] | None = None) -> dict[str, list[EvaluationRun]]:
    """For each arm that chooses, its candidates' runs: without context, on the selection seeds.

    Arms with the same training share them.
    """
    finetuning, trials = params.finetuning, {}
    model_sha256 = identity(params.model)
    for label, arm in params.arms.items():
        if (arms is not None and label not in arms) or not chooses(params, label):
            continue
        same = {name for name in params.arms if _choice_of(params.arms[name]) == _choice_of(arm)}
        there = [world for world in params.world_names if same & set(params.arms_in(world))]
        if not there:
            continue
        trials[label] = [
            EvaluationRun(world, seed, params, model_sha256, f"{label} at {rate:g}", spec, rate)
            for world in [w for w in there if w in finetuning.selection_worlds] or there
            for spec in candidates(params, world, arm)
            for seed in finetuning.selection_seeds
            for rate in rates_of(params, spec, arm)
        ]
    return trials


def chooses(params: Params, label: str) -> bool:
    """Whether an arm has a learning rate or a splitting that is still to be chosen."""
    arm, finetuning = params.arms[label], params.finetuning
    if not arm.train or arm.rate_of or given(params, label):
        return False
    return len(arm.learning_rates or finetuning.learning_rates) > 1 or arm.splitting is Splitting.BEST


def given(params: Params, label: str) -> Choice | None:
    """What the settings say was chosen for an arm, or for another one of the same training from the same rates."""
    given, arms = params.finetuning.chosen, params.arms
    same = (name for name in given if name in arms and _choice_of(arms[name]) == _choice_of(arms[label]))
    return given.get(label) or next((given[name] for name in same), None)


def _choice_of(arm: Arm) -> tuple[Arm, tuple[float, ...] | None]:
    return _without_seed(arm), arm.learning_rates


def _without_seed(arm: Arm) -> Arm:
    return tuning_of(arm).model_copy(update={"reseed": 0})


def candidates(params: Params, world: str, arm: Arm) -> list[Arm]:
    """The trainings that an arm may have on a dataset, apart from the learning rate."""
    plain = _without_seed(arm)
    if arm.splitting is not Splitting.BEST:
        return [plain]
    ways = [Splitting.SENTENCES, *([Splitting.WHOLE] if has_several_sentences(params, world) else [])]
    return [plain.model_copy(update={"splitting": way}) for way in ways]


def rates_of(params: Params, spec: Arm, arm: Arm) -> tuple[float, ...]:
    """The candidate learning rates of a training; whole documents, which make fewer steps, take one more above."""
    rates = arm.learning_rates or params.finetuning.learning_rates
    several = len(rates) > 1 and spec.splitting is Splitting.WHOLE and arm.splitting is Splitting.BEST
    return (*rates, 3 * max(rates)) if several and 3 * max(rates) < 1 else rates


def has_several_sentences(params: Params, world: str) -> bool:
    """Whether a dataset has documents of more than one sentence."""
    seed = params.finetuning.selection_seeds[0]
    key = content_hash([world, params.shape(world).recipe, seed])
    if key not in _several:
        _several[key] = any(len(document.sentences) > 1 for document in prepare(params, world, seed).documents)
    return _several[key]


def tuning_of(arm: Arm) -> Arm:
    """An arm without context, retention and curve."""
    beside = {"context": None, "shots": None, "retention": False, "worlds": None, "curve": False}
    beside |= {"rate_of": None, "learning_rates": None}
    return arm.model_copy(update=beside)


def chosen(params: Params, store: Store) -> dict[str, Choice]:
    """What each arm that trains takes, once it is known."""
    found = {label: choice for label in params.arms if (choice := given(params, label))}
    for label, trials in selection_runs(params).items():
        if all(store.has(trial.key) for trial in trials):
            found[label] = choice_of(selection_table(trials, store))
    for label, arm in params.arms.items():
        if arm.train and not arm.rate_of and not chooses(params, label):
            found.setdefault(label, Choice(rate=(arm.learning_rates or params.finetuning.learning_rates)[0]))
    for label, arm in params.arms.items():
        if arm.rate_of in found:
            found[label] = Choice(rate=found[arm.rate_of].rate)
    return found


def choice_of(table: pd.DataFrame) -> Choice:
    """The rate, and the datasets on which whole documents do better than sentences, of `selection_table`."""
    rates = {way: gentlest_as_good(part) for way, part in table.groupby("splitting")}
    if len(rates) == 1:
        return Choice(rate=next(iter(rates.values())))
    means = {
        way: part[part["learning rate"] == rates[way]].groupby("world")["all questions"].mean()
        for way, part in table.groupby("splitting")
    }
    plain, whole = means[Splitting.SENTENCES], means[Splitting.WHOLE]
    better = [str(world) for world in whole.index if whole[world] > plain[world]]
    return Choice(rate=rates[Splitting.SENTENCES], whole=dict.fromkeys(better, rates[Splitting.WHOLE]))


def gentlest_as_good(table: pd.DataFrame) -> float:
    """The lowest rate whose accuracy on stated facts is within a standard error of the best one's.

    The one-standard-error rule (Breiman et al. 1984): a difference of two questions decides nothing. The error is that
    of the best accuracy over datasets and seeds; of one of them, only equal accuracies count as equal.
    """
    by_unit = table.pivot_table("accuracy", UNIT, "learning rate")
    means = by_unit.mean()
    best = by_unit[means.idxmax()]
    error = best.std(ddof=1) / len(best) ** 0.5 if len(best) > 1 else 0.0
    return float(means.index[means >= best.mean() - error].min())


def selection_table(trials: Sequence[EvaluationRun], store: Store) -> pd.DataFrame:
    """Accuracy and log-probability of true options on stated facts, a row for each run; a diverged one has 0.

    "all questions" is the mean accuracy over splits; some splits beside it tell how methods compare at equal rates.
    """

    def scores(trial: EvaluationRun) -> tuple[float, ...]:
        if store.record(trial.key)["status"] == DIVERGED:
            return 0.0, float("-inf"), 0.0, *(float("nan") for _ in BESIDE)
        rows = store.rows(trial.key)
        by_split = rows.groupby("split")["correct"].mean()
        beside = (float(by_split.get(str(split), float("nan"))) for split in BESIDE)
        rows = rows[rows["split"] == Split.STATED]
        options = zip(rows["option_log_probs"], rows["answers"], strict=True)
        of_true = [max(log_probs[k] for k in answers) for log_probs, answers in options]
        return float(rows["correct"].mean()), added(of_true) / len(of_true), float(by_split.mean()), *beside

    lines = [(t.world, t.seed, str(t.spec.splitting), t.learning_rate, *scores(t)) for t in trials]
    columns = [*UNIT, "splitting", "learning rate", "accuracy", "log-probability", "all questions", *map(str, BESIDE)]
    return pd.DataFrame(lines, columns=columns)
