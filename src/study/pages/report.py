"""Tables that notebooks show: checks of the data, examples, and results in a reader's shape."""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from IPython.display import HTML
from scipy.stats import binomtest

from study.data.probe import ProbeResult, bag_of_words_probe
from study.data.questions import Dataset, Question, Splitting, training_texts
from study.evidence.claims import claims_of
from study.evidence.cost import CACHING
from study.evidence.headline import shares
from study.evidence.power import MOST, claims_power
from study.lm.tokens import count_tokens
from study.pages.costs import break_evens
from study.pages.experiment import Experiment
from study.pages.tables import folded, with_intervals
from study.pages.text_and_accuracy import coverage
from study.params import Params
from study.runs.run import in_english, prepare, prompts_of
from study.sums import added
from study.worlds import closed_class_words
from study.worlds.logic import Derivation, Fact
from study.worlds.shape import Shape
from study.worlds.words import STUDY, lexicon_of
from study.worlds.world import Split, Status, World

OFFENCES = [
    "words of another lexicon",
    "tested statements in documents",
    "options wrongly true or false",
    "contradictions",
    "crowded places",
]
FALSE_ALARM = 0.001  # the probability that a sound study is said to have a crowded place
# The probe is told chance and its own standard deviation; beyond this many of them, it has found something.
SUSPICIOUS_Z = 4.0


def in_short(experiment: Experiment, arms: Sequence[str]) -> pd.DataFrame:
    """Accuracy of some arms, those in the study, on the main kinds of questions, in percent, with chance beside it."""
    rows = experiment.rows([arm for arm in arms if arm in experiment.params.arms])
    return shares(rows, arms, experiment.params.statistics)


def why_and_what_for(experiment: Experiment, arm: str = "ft augmented") -> pd.DataFrame:
    """What a fine-tuned arm gains where its text has the answer, loses on other documents, and when it pays."""
    rows, lines = experiment.rows(), []
    covered = coverage(experiment, "ft")
    for has, word in ((True, "has"), (False, "lacks")) if len(covered) else ():
        here = covered[(covered["arm"] == arm) & (covered["text has the answer"] == has)]
        if len(here):
            mine, plain = (np.average(here[column], weights=here["items"]) for column in ("value", "accuracy of ft"))
            said = f"accuracy on inferences whose answer its text {word}"
            lines.append([said, f"{mine:.0%}", f"ft: {plain:.0%}"])
    retention = rows[rows["retention"]].groupby("arm")["correct"].mean() if len(rows) else pd.Series()
    if {f"{arm} retention", "icl retention"} <= set(retention.index):
        mine, untuned = retention[f"{arm} retention"], retention["icl retention"]
        lines.append(["accuracy with other documents in context", f"{mine:.0%}", f"icl: {untuned:.0%}"])
    if {arm, "icl"} <= set(rows["arm"]):
        even = break_evens(experiment, [arm], "icl").iloc[0]
        lines += [[f"questions after which it has cost less, {way}", even[way], "icl"] for way in CACHING.values()]
    return pd.DataFrame(lines, columns=["", arm, "compared with"])


def check_data(experiment: Experiment) -> pd.DataFrame:
    """Offences against soundness, counted by world and seed; every one should be zero.

    A place is crowded if the true option stands there so often, or so seldom, as no one place in a thousand such
    studies would by chance. A dataset without a world is not checked.
    """
    closed, in_names = set(closed_class_words()), in_english(experiment.params)
    lines, places = [], []
    for name, seed, material, world in _worlds(experiment):
        questions = material.questions
        words = {word for entity in world.entities for word in entity.split()} - closed
        if in_names:  # drawn capitalised, though a property is no name in a sentence
            words = {word.capitalize() for word in words}
        shape = experiment.params.shape(name)
        renamed = set(world.original_names) or (isinstance(shape, Shape) and not getattr(shape, "facts", None))
        stated = {world.render(statement) for document in material.documents for statement in document.statements}
        counts = {"facts": len(world.facts), "entailed": len(_told(world))}
        counts |= {"documents": len(material.documents), "questions": len(questions)}
        offences = (
            sum(lexicon_of(word) != STUDY.name for word in words) if renamed else 0,
            sum(q.split is not Split.STATED and q.query + q.options[q.answers[0]] in stated for q in questions),
            sum(_true_options(world, q) != list(q.answers) for q in questions),
            sum(world.constraints.clash(fact, world.theory) is not None for fact in world.closure),
        )
        lines.append({"world": name, "seed": seed, **counts, **dict(zip(OFFENCES[:-1], offences, strict=True))})
        places.append(_chances_of_places(questions))
    # A study of many seeds looks at a thousand places, so one in a thousand would stop it for nothing.
    least = FALSE_ALARM / max(1, sum(map(len, places)))
    return pd.DataFrame(lines).assign(**{OFFENCES[-1]: [sum(p < least for p in own) for own in places]})


def _worlds(experiment: Experiment, seeds: int | None = None) -> Iterator[tuple[str, int, Dataset, World]]:
    """The datasets that have a world, with it, of the first so many seeds or of all."""
    for name, seed, material in experiment.materials(seeds):
        if material.world:
            yield name, seed, material, material.world


def _told(world: World) -> list[tuple[Fact, Derivation]]:
    """The facts that follow from stated ones and can be put into words."""
    return [(fact, d) for fact, d in world.closure.items() if d.supports and fact.relation in world.wording]


def _true_options(world: World, question: Question) -> list[int]:
    """The options that the world entails, by its own reading of the sentences."""
    statements = [world.parse(question.query + option) for option in question.options]
    return [k for k, s in enumerate(statements) if s is not None and world.status(s.fact) is Status.ENTAILED]


def _chances_of_places(questions: Sequence[Question]) -> list[float]:
    """For each place among so many options, how probable its count of true options is if each place is as likely."""
    chances = []
    for size in {len(question.options) for question in questions}:
        counts = Counter(place for q in questions if len(q.options) == size for place in q.answers)
        chances += [binomtest(counts[place], counts.total(), 1 / size).pvalue for place in range(size)]
    return chances


def probe_table(experiment: Experiment) -> pd.DataFrame:
    """What the questions of each world, asked without a document, give away to a bag-of-words probe; seeds pooled."""
    found: dict[str, list[ProbeResult]] = {}
    for name, seed, material in experiment.materials():
        found.setdefault(name, []).append(bag_of_words_probe(material.questions, seed))
    totals = {name: ProbeResult(*map(added, zip(*results, strict=True))) for name, results in found.items()}
    return pd.DataFrame(
        {
            "world": name,
            "questions": total.questions,
            "probe": total.right / total.questions,
            "chance": total.expected / total.questions,
            "standard deviations above chance": total.z,
            "sound": total.z < SUSPICIOUS_Z,
        }
        for name, total in totals.items()
    ).round(3)


def tuning_set(experiment: Experiment) -> pd.DataFrame:
    """The five properties of a good tuning set as numbers, averaged over seeds; the notebook says what each means."""
    lines = []
    for name, _, material, world in _worlds(experiment):
        statements = [statement for document in material.documents for statement in document.statements]
        stated = {statement.fact for statement in statements}
        said = {world.canonical(fact) for fact in stated}
        needed = {support for q in material.questions for support in q.supports}
        shares = np.array([*Counter(s.fact.relation for s in statements).values()]) / len(statements)
        lines.append(
            {
                "world": name,
                "representative": len(needed & said) / len(needed),
                "diverse": len(set(statements)) / len(stated),
                "balanced": float(-(shares * np.log(shares)).sum() / np.log(len(shares))) if len(shares) > 1 else 1.0,
                "consistent": float(np.mean([world.status(fact) is Status.ENTAILED for fact in stated])),
                "relevant": len(needed & said) / len(stated),
            }
        )
    table = pd.DataFrame(lines)
    return table.groupby("world", sort=False).mean().round(3) if lines else table


def sizes(experiment: Experiment) -> pd.DataFrame:
    """Documents, sentences and tokens under the tokenizer of the model under study, averaged over seeds."""
    table = pd.DataFrame(
        {
            "world": name,
            "facts": len(material.world.facts) if material.world else 0,
            "documents": len(material.documents),
            "sentences": sum(len(document.sentences) for document in material.documents),
            "tokens, whole set": sum(count_tokens(experiment.params.model, [d.text for d in material.documents])),
            "training texts, sentences": len(training_texts(material.documents, Splitting.SENTENCES)),
            "training texts, cumulative": len(training_texts(material.documents, Splitting.CUMULATIVE)),
        }
        for name, _, material in experiment.materials()
    )
    return table.groupby("world", sort=False).mean().round(0).astype(int)


def derivations(experiment: Experiment) -> pd.DataFrame:
    """One example of each way in which something follows, by world."""
    table = pd.DataFrame(
        {
            "world": name,
            "rule": derivation.rule,
            "hops": derivation.hops,
            "facts": 1,
            "example": world.canonical(fact),
            "follows from": " ".join(sorted(world.canonical(f) for f in derivation.supports)),
        }
        for name, _, _, world in _worlds(experiment, seeds=1)
        for fact, derivation in _told(world)
    )
    if table.empty:
        return table
    ways = table.groupby(["world", "rule", "hops"], sort=False, as_index=False)
    return ways.agg({"facts": "sum", "example": "first", "follows from": "first"})


def example_wordings(experiment: Experiment) -> pd.DataFrame:
    """The first stated fact of each world in every wording."""
    return pd.DataFrame(
        {
            "world": name,
            "sentence": world.render(form),
            "asks for": "object" if world.template(form).subject_first else "subject",
            "kept for questions": "yes" if world.template(form).held_out else "",
        }
        for name, _, _, world in _worlds(experiment, seeds=1)
        for form in world.forms(world.facts[0])
    )


def example_questions(experiment: Experiment) -> pd.DataFrame:
    """One question of each world, split and kind of false options, of the first seed."""
    return pd.DataFrame(
        {
            "world": name,
            "split": str(question.split),
            "query": question.query,
            "true": " / ".join(question.true_options),
            "false": " / ".join(o.strip() for k, o in enumerate(question.options) if k not in question.answers),
            "false options are": str(question.kind),
            "rests on": " ".join(question.supports),
        }
        for name, _, material in experiment.materials(seeds=1)
        for question in {(q.split, q.kind): q for q in reversed(material.questions)}.values()
    )


def question_counts(experiment: Experiment) -> pd.DataFrame:
    """Questions, facts they hang on, and chance, by world and split over all seeds."""
    table = pd.DataFrame(
        {"world": name, "split": str(q.split), "fact": f"{seed}/{q.cluster}", "chance": q.chance}
        for name, seed, material in experiment.materials()
        for q in material.questions
    )
    groups = table.groupby(["world", "split"], sort=False)
    return groups.agg(questions=("fact", "size"), facts=("fact", "nunique"), chance=("chance", "mean")).reset_index()


def example_prompt(experiment: Experiment) -> str:
    """The end of the first world's context with one reversal and its options."""
    material = experiment.material(experiment.params.world_names[0], experiment.params.seeds[0])
    question = next(q for q in material.questions if q.split is Split.REVERSAL)
    texts = [document.text for document in material.documents]
    context = prompts_of(experiment.params).in_context([f"[{len(texts) - 4} documents more]", *texts[-4:]])
    return f"{context.rstrip()} {question.query}\n" + "\n".join(f"   {option.strip()}" for option in question.options)


def example() -> tuple[str, Question, str]:
    """In the bundled model's wording: documents as a context, a reversal, and the sentence that it reverses."""
    params = Params()
    material = prepare(params, "reversals", 0)
    question = next(q for q in material.questions if q.split is Split.REVERSAL)
    texts = [document.text for document in material.documents]
    return f"{prompts_of(params).in_context(texts)} ", question, question.supports[0]


def against_chance(experiment: Experiment, rows: pd.DataFrame, arm: str) -> HTML:
    """In how many splits the interval of one arm holds chance; the accuracies folded away."""
    if arm not in set(rows["arm"]):
        return HTML(f"The arm {arm} is not in this study.")
    table = experiment.accuracy(rows[rows["arm"] == arm])
    table["holds chance"] = (table["low"] <= table["chance"]) & (table["chance"] <= table["high"])
    said = f"{arm}: the interval holds chance in {table['holds chance'].sum()} of {len(table)} splits"
    return folded(said, table.round(3))


def example_inferences(experiment: Experiment) -> pd.DataFrame:
    """Generated sentences of each world and source, some of each standing."""
    inferences = experiment.inferences()
    if inferences.empty:
        return inferences
    by = ["world", "source", "status"]
    chosen = inferences.groupby(by, sort=False).head(3).sort_values(by)
    return chosen[[*by, "document", "sentence", "split"]].fillna("").set_index(by)


def mean_quality(experiment: Experiment) -> pd.DataFrame:
    """Quality of the generated text, averaged over seeds."""
    quality = experiment.augmentation_quality()
    if quality.empty:
        return quality
    return quality.drop(columns="seed").groupby(["world", "source"], sort=False).mean().round(3)


def same_questions(experiment: Experiment, rows: pd.DataFrame) -> pd.DataFrame:
    """Questions by world and seed, and how many arms answered them; the arms of one line must agree.

    Raises:
        ValueError: if two finished arms did not answer the same questions.
    """
    params, lines = experiment.params, []  # rows come in the order of the trials
    for (world, seed, elsewhere), part in rows.groupby(["world", "seed", "retention"], sort=False):
        items = part.groupby("arm", sort=False)["item_id"].agg(lambda ids: tuple(sorted(ids)))
        if len(set(items)) > 1:
            raise ValueError(f"the arms of {world}, seed {seed}, did not answer the same questions")
        due = [arm for arm in params.arms_in(world) if params.arms[arm].retention == elsewhere]
        lines.append(
            {
                "world": world,
                "seed": seed,
                "asked about": "another world" if elsewhere else "itself",
                "questions": len(items.iloc[0]),
                "arms": len(items),
                "without answers": ", ".join(arm for arm in due if arm not in items.index),
            }
        )
    return pd.DataFrame(lines).set_index(["world", "seed", "asked about"])


def shown_effects(effects: pd.DataFrame) -> pd.DataFrame:
    """Effects as a reader wants them: what was compared where, what was claimed, what was found."""
    if effects.empty:
        return effects
    table = effects.assign(effect=with_intervals(effects[["effect", "low", "high"]], "+.2f"))
    columns = ["number", "world", "split", "compared", "claimed", "effect", "smallest detectable", "items", "facts"]
    return table[[*columns, "seeds"]].round(3)


def seeds_for_claims(experiment: Experiment, effects: pd.DataFrame) -> pd.DataFrame:
    """Which verdict the effects of each claim speak for, and how many seeds would find it."""
    if effects.empty:
        return effects
    table = claims_power(claims_of(experiment.params), effects, experiment.params.statistics)
    return table.assign(**{"seeds needed": table["seeds needed"].map(_seeds)})


def _seeds(count: float) -> str:
    return "" if np.isnan(count) else f"more than {MOST}" if np.isinf(count) else f"{count:.0f}"


def noise_floor(experiment: Experiment, arm: str, again: str) -> pd.DataFrame:
    """How far the same arm comes out elsewhere when nothing but the order of its texts differs."""
    rows = experiment.rows([arm, again])
    if rows.empty or rows["arm"].nunique() < 2:
        return pd.DataFrame()
    key = ["world", "split", "seed"]
    means = rows.groupby([*key, "arm"])["correct"].mean().unstack()
    marks = rows.groupby([*key, "item_id"])["correct"].agg(["min", "max"])
    flips = (marks["min"] != marks["max"]).groupby(key).mean()
    table = pd.DataFrame({"difference": (means[again] - means[arm]).abs(), "answers changed": flips})
    return table.groupby(["world", "split"], sort=False).mean().round(3).reset_index()
