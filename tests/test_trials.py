import json

import numpy as np
import pandas as pd
import pytest
import torch

from conftest import one_process
from study.arms import ARMS, Source
from study.base_model.architecture import build_model
from study.base_model.recipe import Architecture
from study.config import ParamsError
from study.data.questions import Splitting, stated_in
from study.figures import captions
from study.figures import curves as figures
from study.lm.hub import identity, model_folder
from study.lm.loading import load, pick_device
from study.lm.scoring import score_options
from study.pages import real_models as pages
from study.pages import report, text_and_accuracy
from study.pages.costs import search_costs
from study.pages.experiment import Experiment
from study.pages.model_sizes import model_size_table, run_model_sizes
from study.pages.real_models import beside, beside_in_percent, real_models
from study.pages.tables import as_html, folded
from study.params import Choice, Model, Params
from study.runs import perform as work
from study.runs import runner, selection
from study.runs.augment import Inference, fact_and_answer, judge
from study.runs.perform import run_together
from study.runs.run import DIVERGED, FINISHED, EvaluationRun, prepare, prompts_of
from study.runs.runner import evaluation_runs_of, rows_of, run
from study.runs.store import Store, content_hash
from study.runs.training_text import NOT_AT_ALL, answers_in_text
from study.worlds import closed_class_words
from study.worlds.world import Split

pytestmark = pytest.mark.usefixtures("in_this_process")


def changed(params: Params, **values) -> Params:
    return Params.parse({**params.plain(), **values}, "test")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "runs")


def trial(params, arm, seed=0, world="reversals", rate=1e-3) -> EvaluationRun:
    spec, rate = runner.as_chosen(params.arms[arm], Choice(rate=rate), world)
    return EvaluationRun(world, seed, params, identity(params.model), arm, spec, rate if spec.train else None)


@pytest.fixture(scope="module")
def studied(params, tmp_path_factory):
    """The tiny study, run once with every arm: its store and rows."""
    store = Store(tmp_path_factory.mktemp("study") / "runs")
    with one_process():
        return store, run(params, store, say=lambda line: None)


def test_every_arm_answers_the_same_questions_and_records_how(params, studied):
    store, rows = studied
    assert set(rows["arm"]) == {arm for world in params.world_names for arm in params.arms_in(world)}
    for _, group in rows.groupby(["world", "seed", "retention"]):
        assert len({tuple(sorted(items)) for _, items in group.groupby("arm")["item_id"]}) == 1
    assert rows["option_log_probs"].map(lambda values: all(v < 0 for v in values)).all()
    for unit in evaluation_runs_of(params, store):
        record = store.record(unit.key)
        assert record["status"] == FINISHED and record["seconds"] > 0 and record["peak_memory_bytes"] > 1e7
        assert record["recipe"]["model_sha256"] == identity(params.model)
        assert record["processor"].endswith(f"threads: {torch.get_num_threads()}")
        assert ("training" in record) == bool(unit.spec.train)
        assert (record["context_tokens"] > 0) == (unit.spec.context is not None)
    # Nothing is left to do, and a second run returns the same rows.
    before = {p: p.stat().st_mtime_ns for p in store.folder.rglob("*")}
    pd.testing.assert_frame_equal(rows, run(params, store, say=lambda line: None))
    assert before == {p: p.stat().st_mtime_ns for p in store.folder.rglob("*")}


def test_the_matched_control_has_the_steps_and_tokens_of_its_model_exactly(params, store):
    arms = {name: params.arms[name].plain() for name in ("ft", "ft oracle")}
    arms["ft repeated"] = {**arms["ft"], "as_long_as": "ft oracle"}
    tuning = {**params.finetuning.plain(), "learning_rates": [1e-3]}
    worlds = {"reversals": params.worlds.reversals.plain()}
    small = changed(params, arms=arms, finetuning=tuning, worlds=worlds)
    run(small, store, say=lambda line: None)
    records = {unit.label: store.record(unit.key) for unit in evaluation_runs_of(small, store)}
    for world in small.world_names:
        plain, matched, control = (records[f"{world} / seed 0 / {arm}"]["training"] for arm in arms)
        assert control["steps"] == matched["steps"] > plain["steps"]
        assert control["learned_tokens"] == matched["learned_tokens"] > plain["learned_tokens"]
        assert control["texts"] == plain["texts"] < matched["texts"]


def test_the_rate_of_each_arm_is_the_gentlest_that_is_as_good_on_stated_facts_of_other_seeds(params, studied):
    store, choices = studied[0], selection.chosen(params, studied[0])
    rates = {label: choice.rate for label, choice in choices.items()}
    here = {label for world in params.world_names for label in params.arms_in(world)}
    assert set(rates) == {label for label in here if params.arms[label].train}
    for label, candidates in selection.selection_runs(params).items():
        assert {t.seed for t in candidates} == set(params.finetuning.selection_seeds)
        assert {t.spec.context for t in candidates} == {None}
        table = selection.selection_table(candidates, store)
        assert rates[label] == selection.gentlest_as_good(table[table["splitting"] == "sentences"])
    assert rates["ft augmented strict"] == rates["ft augmented"] and rates["ft augmented fast"] == 3e-3
    search = search_costs(Experiment(params, store.folder.parent, "rates")).set_index("arm")
    assert list(search.index) == list(selection.selection_runs(params))
    trainings = [store.record(trial.key)["training"] for trial in selection.selection_runs(params)["ft"]]
    assert search.loc["ft", "GFLOP"] == pytest.approx(sum(training["flops"] for training in trainings) / 1e9)
    assert search.loc["ft augmented", "GFLOP"] > search.loc["ft", "GFLOP"]  # its text is generated for it
    # A page tells the rates of its own arms, whatever else is finished.
    table = Experiment(params, store.folder.parent, "rates").learning_rates(["ft", "base"])
    assert set(table["arm"]) == {"ft"}
    plain = table[table["splitting"] == "sentences"]
    assert list(plain["learning rate"][plain["chosen"]]) == [rates["ft"]]
    assert {t.learning_rate for t in evaluation_runs_of(params, store, ["ft"])} >= {rates["ft"]}


def stated(accuracies, splitting="sentences", **more):
    """A selection table: accuracy on stated facts by learning rate, one for each seed."""
    lines = [
        {"world": "w", "seed": seed, "splitting": splitting, "learning rate": rate, "accuracy": value, **more}
        for rate, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(lines)


def test_a_difference_within_a_standard_error_decides_for_the_gentler_rate():
    good = selection.gentlest_as_good
    assert good(stated({1e-4: [0.2, 0.3, 0.2], 1e-3: [0.98, 1.0, 0.99], 1e-2: [1.0, 0.97, 1.0]})) == 1e-3
    assert good(stated({1e-3: [0.9, 0.89, 0.9], 1e-2: [1.0, 1.0, 0.98]})) == 1e-2
    assert good(stated({1e-3: [1.0, 1.0, 1.0], 1e-2: [1.0, 1.0, 1.0]})) == 1e-3
    assert good(stated({1e-3: [0.99], 1e-2: [1.0]})) == 1e-2 and good(stated({1e-3: [1.0], 1e-2: [1.0]})) == 1e-3


def test_whole_documents_are_taken_where_they_do_better_at_their_own_rate():
    rates = {1e-3: [1.0, 1.0], 1e-2: [1.0, 1.0]}
    here, there = (stated(rates, **{"all questions": value}) for value in (0.5, 0.5))
    whole = stated({1e-3: [0.2, 0.3], 1e-2: [1.0, 1.0]}, "whole", **{"all questions": 0.6})
    table = pd.concat([here, there.assign(world="v"), whole, whole.assign(world="v", **{"all questions": 0.4})])
    assert selection.choice_of(table) == Choice(rate=1e-3, whole={"w": 1e-2})
    arm = ARMS["ft"]
    assert runner.as_chosen(arm, selection.choice_of(table), "w")[0].splitting == "whole"
    assert runner.as_chosen(arm, selection.choice_of(table), "v") == (
        arm.model_copy(update={"splitting": Splitting.SENTENCES}),
        1e-3,
    )


def test_a_trial_whose_rate_is_not_chosen_is_not_finished(params, studied, tmp_path):
    (unit, *_) = evaluation_runs_of(params, Store(tmp_path), ["ft"])
    assert unit.learning_rate is None and not studied[0].has(unit.key)
    assert list(run_together([unit], Store(tmp_path)).values()) == [
        f"ValueError: {unit.label}: its learning rate is not chosen yet"
    ]


def test_a_diverged_candidate_is_not_chosen(params, tmp_path, monkeypatch):
    few = changed(params, arms={"ft": params.arms["ft"].plain()})
    tune = work.finetune

    def explode(model, tokenizer, encoded, finetuning, rate, *rest):
        if rate == 1e-2:
            raise work.Diverged("step 1 of 1: loss nan")
        return tune(model, tokenizer, encoded, finetuning, rate, *rest)

    monkeypatch.setattr(work, "finetune", explode)
    store = Store(tmp_path)
    failed = [run_together([t], store) for t in selection.selection_runs(few)["ft"]]
    assert not any(failed) and selection.chosen(few, store)["ft"].rate == 1e-3


def test_arms_of_one_training_train_once_and_answer_as_if_alone(params, store, studied, monkeypatch):
    tuned = []
    tune = work.finetune
    monkeypatch.setattr(work, "finetune", lambda *given: tuned.append(1) or tune(*given))
    arms = ["ft augmented", "hybrid", "ft augmented retention"]
    assert run_together([trial(params, arm) for arm in arms], store) == {} and len(tuned) == 1
    alone = Store(store.folder.with_name("alone"))
    assert run_together([trial(params, "hybrid")], alone) == {} and len(tuned) == 2
    key = trial(params, "hybrid").key
    pd.testing.assert_frame_equal(store.rows(key), alone.rows(key))
    assert runner.sharing(params, ["ft"]) == ["ft", "ft retention"]
    assert runner.sharing(params, ["ft local"]) == ["ft local"]
    assert "hybrid" in runner.sharing(params, ["ft augmented"])
    assert runner.sharing(params, ["icl", "ft reseeded"]) == ["icl", "ft reseeded"]


def test_rows_do_not_depend_on_what_was_finished_before(params, store, studied):
    """To the last bit: a study that was interrupted between any two units ends as one that was not."""
    for arm in ("icl retention", "icl 8", "icl", "hybrid"):
        (unit,) = [unit for unit in evaluation_runs_of(params, studied[0], [arm]) if unit.world == "reversals"]
        assert run_together([unit], store) == {}
        pd.testing.assert_frame_equal(store.rows(unit.key), studied[0].rows(unit.key), check_exact=True)


def test_the_declared_score_decides(params, store):
    arms = {arm: params.arms[arm].plain() | {"worlds": ["reversals"]} for arm in ("base", "icl")}

    def rows_by(score):
        return run(changed(params, arms=arms, prompts=params.prompts.plain() | {"score": score}), store, say=print)

    summed, mean, pmi = (rows_by(score) for score in (None, "mean", "pmi"))
    assert list(mean["correct"]) == list(summed["correct_by_token_mean"]) == list(pmi["correct_by_token_mean"])
    model, tokenizer = load(params.model)
    material, prompts = prepare(params, "reversals", 0), prompts_of(params)
    assert material.world.without_names(material.questions[0].query).split().count("it") == 1
    for arm, context in (("base", ""), ("icl", prompts.in_context([d.text for d in material.documents]))):
        nameless = [(material.world.without_names(q.query), q.options) for q in material.questions]
        priors = [np.array(score.log_probs) for score in score_options(model, tokenizer, context, nameless)]
        own = pmi[pmi["arm"] == arm]
        priors = [
            prior * (q.query != text) for prior, q, (text, _) in zip(priors, material.questions, nameless, strict=True)
        ]
        gains = [np.array(scores) - prior for scores, prior in zip(own["option_log_probs"], priors, strict=True)]
        right = [gain.argmax() in q.answers for gain, q in zip(gains, material.questions, strict=True)]
        assert list(own["correct"]) == right and list(own["correct"]) != list(summed[summed["arm"] == arm]["correct"])


def test_the_order_of_questions_does_not_matter(params, studied):
    from study.lm.scoring import score_options

    model, tokenizer = load(params.model)
    material = prepare(params, "reversals", 0)
    asked = [(q.query, q.options) for q in material.questions]
    context = "vazed sees ditav. so:"
    forth = score_options(model, tokenizer, context, asked)
    back = score_options(model, tokenizer, context, asked[::-1])[::-1]
    for one, other in zip(forth, back, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def taken(steps, parts):
    """Where a curve has its points: at the start, at the end, and at checkpoints."""
    stops = {round(steps * k / parts) for k in range(1, parts)} - {0, steps}
    return {0, parts} | {round(parts * stop / steps) for stop in stops}


def test_a_curve_is_of_the_same_training_and_ends_at_the_trial(params, studied, tmp_path):
    experiment = Experiment(params, studied[0].folder.parent, "curves")
    curves = experiment.curves()
    assert set(curves["arm"]) == {arm for arm, spec in params.arms.items() if spec.curve}
    points = curves.groupby(["world", "arm", "split"])["trained"].agg(set)
    steps = {
        (u.world, u.arm): studied[0].record(u.key)["training"]["steps"]
        for u in evaluation_runs_of(params, studied[0], ["ft"])
    }
    parts = params.finetuning.checkpoint_evals + 1
    for world, arm in steps:
        assert set(map(frozenset, points[world, arm])) == {
            frozenset(k / parts for k in taken(steps[world, arm], parts))
        }
    last = curves[curves["trained"] == 1].set_index(["world", "arm", "split"])["accuracy"]
    rows = studied[1].groupby(["world", "arm", "split"])["correct"].mean()
    assert last.to_dict() == rows.loc[last.index].to_dict()
    # Without a checkpoint_eval, the same training.
    arms = {"ft": params.arms["ft"].model_copy(update={"curve": False}).plain()}
    plain, curved = trial(changed(params, arms=arms), "ft"), trial(params, "ft")
    assert plain.key != curved.key and plain.training == curved.training
    other = Store(tmp_path)
    run_together([plain], other), run_together([curved], other)
    scores = [[list(values) for values in other.rows(t.key)["option_log_probs"]] for t in (plain, curved)]
    assert scores[0] == scores[1]


def test_each_question_counts_once_in_a_comparison_by_what_the_text_has(params, studied):
    rows = studied[1]
    asked = rows[rows["covered"].notna() & ~rows["split"].isin(["as stated", "rephrased"])]
    assert asked.duplicated(["world", "seed", "arm", "item_id"]).any()  # splits may share an item's name
    table = text_and_accuracy.coverage(Experiment(params, studied[0].folder.parent, "coverage"), "ft")
    counted = table.groupby(["arm", "split"])["items"].sum().to_dict()
    assert counted == asked.groupby(["arm", "split"]).size().to_dict()
    split = table[(table["arm"] == "ft augmented") & (table["split"] == "reversal")]
    plain = rows[(rows["arm"] == "ft") & (rows["split"] == "reversal")]["correct"].mean()
    assert np.average(split["accuracy of ft"], weights=split["items"]) == pytest.approx(plain)


def test_each_reversal_counts_once_by_what_the_text_does_with_its_two_names(params, studied):
    rows = studied[1]
    asked = rows[(rows["split"] == "reversal") & rows["exposure"].notna()]
    arms = [name for name, arm in params.arms.items() if arm.train and not arm.context]
    asked = asked[asked["arm"].isin(arms)]
    experiment = Experiment(params, studied[0].folder.parent, "order")
    table = text_and_accuracy.named_in_turn(experiment, arms).set_index(["arm", "text"])
    assert table.groupby("arm")["items"].sum().to_dict() == asked.groupby("arm").size().to_dict()
    said = asked[asked["exposure"] != NOT_AT_ALL].groupby("arm").size().to_dict()
    assert table.xs("says the answer", level="text").groupby("arm")["items"].sum().to_dict() == said
    backwards = table.loc["ft reversed"]
    assert backwards[backwards["world"] == "reversals"].index.tolist() == ["names both in that order"]
    shown = text_and_accuracy.told_or_named(table.reset_index())
    counted = shown.map(lambda cell: int(cell.rpartition(" ")[2].replace(",", "") or 0)).sum(axis=1)
    assert counted.to_dict() == asked.groupby("arm").size().to_dict()


def test_an_arm_may_name_its_method(params, store):
    arms = {"ft": {"train": ["documents"]}, "ft lora": {"train": ["documents"], "method": "lora"}}
    other = changed(params, arms=arms)
    run_together([trial(other, "ft lora")], store), run_together([trial(other, "ft")], store)
    trained = [store.record(trial(other, arm).key)["training"]["trained_parameters"] for arm in arms]
    assert trained[1] < trained[0]
    study = changed(params, arms={"ft": arms["ft"]}, finetuning=params.finetuning.plain() | {"method": "lora"})
    assert trial(study, "ft").key == trial(other, "ft lora").key


@pytest.fixture
def another_model(tmp_path, tokenizer):
    """A smaller one than the study's."""
    shape = Architecture(width=16, head_width=8, positions=1024)
    build_model(shape, len(tokenizer), layers=2, seed=1).save_pretrained(tmp_path / "small")
    tokenizer.save_pretrained(tmp_path / "small")
    return {"name": str(tmp_path / "small"), "device": "cpu"}


@pytest.mark.nightly
def test_models_are_compared_with_some_arms(params, studied, another_model):
    compared = changed(params, model_sizes={"models": [another_model], "arms": ["icl", "ft"]})
    (other,) = compared.other_models
    assert other.model.name == another_model["name"] and set(other.arms) == {"icl", "ft"}
    experiment = Experiment(compared, studied[0].folder.parent, "model_sizes")
    assert set(model_size_table(experiment)["model"]) == {params.model.name}
    run_model_sizes(experiment)
    table = model_size_table(experiment)
    assert set(table["model"]) == {params.model.name, other.model.name} and set(table["arm"]) == {"icl", "ft"}
    assert table.groupby("model")["parameters"].first()[other.model.name] < table["parameters"].max()
    # The study's own rows are its own model's.
    assert set(experiment.rows()["model_sha256"]) == {identity(params.model)}
    reversal = studied[1][studied[1]["split"] == "reversal"].groupby("arm")["correct"].mean()
    line = table[(table["split"] == "reversal") & (table["arm"] == "icl")].set_index("model").loc[params.model.name]
    assert line["minus ft"] == pytest.approx(reversal["icl"] - reversal["ft"])


def test_a_study_stands_beside_real_models_where_both_were_asked_the_same(params, studied, monkeypatch):
    experiment = Experiment(params, studied[0].folder.parent, "beside")
    monkeypatch.setattr(pages, "FEWEST_ITEMS", 3)  # the tiny study asks few
    table, real = beside(experiment), real_models()
    own = table[table["model"] == params.model.name]
    assert len(own) and set(own["parameters"]) == {load(params.model)[0].num_parameters()}
    assert not {"as stated", "rephrased"} & set(table["split"]) and table["items"].min() >= 3
    for _, part in table.groupby(["world", "split"]):
        assert params.model.name in set(part["model"])
        assert set(part["model"]) != {params.model.name}
    others = table[table["model"] != params.model.name]
    assert len(others.merge(real)) == len(others) > 0  # as published
    figures.model_sizes_figure(table, params.arms)
    assert "a panel for each split of each dataset" in captions.model_sizes(table)
    assert len(beside_in_percent(experiment)) == len(table.drop_duplicates(["world", "split", "model"]))
    # A study of one of them does not stand beside itself, nor any where their results were removed to make them anew.
    monkeypatch.setattr(pages, "real_models", lambda: real.assign(model=params.model.name))
    assert beside(experiment).empty and beside_in_percent(experiment).empty
    monkeypatch.setattr(pages, "real_models", real_models)
    monkeypatch.setattr(pages, "real_tables", dict)
    assert beside(experiment).empty and beside_in_percent(experiment).empty


def test_models_are_compared_on_datasets_of_several_sizes_each_fine_tuned_in_its_way(params, store, another_model):
    rate = {"learning_rates": [1e-3]}
    tuning = params.finetuning.plain() | rate
    other = another_model | {"finetuning": tuning | {"fewest_steps": 7, "method": "lora"}}
    arms = {name: params.arms[name].plain() for name in ("icl", "ft")}
    sizes = {"models": [other], "arms": ["icl", "ft"], "sizes": [4, 8]}
    worlds = {"reversals": {"size": 6, "features": 1}}
    compared = changed(params, worlds=worlds, arms=arms, finetuning=tuning, model_sizes=sizes)
    experiment = Experiment(compared, store.folder.parent, "model_sizes")
    run_model_sizes(experiment)
    table = model_size_table(experiment)
    key = ["model", "in the dataset", "arm"]
    assert set(table[key].itertuples(index=False, name=None)) == {
        (name, facts, arm) for name in (params.model.name, other["name"]) for facts in (4, 8) for arm in ("icl", "ft")
    }
    steps = {
        (study.model.name, record["training"]["steps"], record["training"]["trained_parameters"])
        for study in compared.other_models
        for record in [store.record(trial(study, "ft").key)]
    }
    theirs = {step for step in steps if step[0] == other["name"]}
    assert {taken for _, taken, _ in theirs} == {7} and max(taken for _, taken, _ in steps - theirs) < 7
    assert max(weights for _, _, weights in theirs) < min(weights for _, _, weights in steps - theirs)
    drawn = figures.models_by_facts(table, compared.arms)
    assert len([axis for axis in drawn.axes if axis.get_title()]) == 2
    assert [axis.get_ylabel() for axis in drawn.axes if axis.get_ylabel()][:1] == ["as stated"]
    assert captions.models_by_facts(table).count(" facts icl ") == 4


def test_the_world_elsewhere_shares_no_word(params):
    for world in params.world_names:
        here, there = (prepare(params, world, 0, retention=way) for way in (False, True))
        names = [{word for e in m.world.entities for word in e.split()} for m in (here, there)]
        assert names[0] & names[1] <= set(closed_class_words()) and there.questions


def test_shots_are_nested_and_told_as_a_share_of_facts(params, studied):
    records = {
        unit.arm: studied[0].record(unit.key)
        for unit in evaluation_runs_of(params, studied[0])
        if unit.world == "family"
    }
    one, eight, all_ = (records[arm] for arm in ("icl 1", "icl 8", "icl"))
    assert 0 < one["context_tokens"] < eight["context_tokens"] <= all_["context_tokens"]
    assert one["share_of_facts_in_context"] < eight["share_of_facts_in_context"] <= 1
    assert all_["share_of_facts_in_context"] == 1
    assert records["irrelevant"]["share_of_facts_in_context"] == records["base"]["share_of_facts_in_context"] == 0


def test_the_control_of_rephrasings_has_no_reversal(params, tmp_path):
    """Local text is put in the store as if the model had written it: two sentences the same way, two reversed."""
    store, unit = Store(tmp_path), trial(params, "ft rephrased")
    (generation,) = unit.generation_runs
    material = prepare(params, "reversals", 0)
    world, stated = material.world, stated_in(material.world, material.documents)
    forms = [s for s in world.statements if world.split_of(s, stated) in (Split.REPHRASED, Split.REVERSAL)]
    written = list(map(world.render, forms))
    rows = pd.DataFrame(judge(world, stated, Source.LOCAL, "", 0, written), columns=Inference._fields)
    store.write(generation.key, rows, {"status": FINISHED})
    texts = set(work.texts_of(unit, material, store)) - set(work.texts_of(trial(params, "ft"), material, store))
    assert texts == {world.render(s) for s in forms if world.split_of(s, stated) is Split.REPHRASED}
    everything = set(work.texts_of(trial(params, "ft local"), material, store))
    assert texts < everything and {world.render(s) for s in forms} <= everything


def test_a_trial_depends_on_what_it_uses_and_on_nothing_else(params):
    longer = changed(params, finetuning={**params.finetuning.plain(), "epochs": 5})
    hotter = changed(params, augmentation={**params.augmentation.plain(), "temperature": 1.5})
    fewer = changed(params, statistics={"confidence": 0.9})
    others = changed(params, finetuning={**params.finetuning.plain(), "selection_seeds": [7]})
    assert trial(params, "icl").key == trial(longer, "icl").key
    assert trial(params, "ft").key != trial(longer, "ft").key
    assert trial(params, "ft").key != trial(params, "ft", rate=1e-4).key
    assert trial(params, "ft").key == trial(others, "ft").key
    assert trial(params, "ft").key == trial(hotter, "ft").key
    assert trial(params, "ft local").key != trial(hotter, "ft local").key
    assert trial(params, "ft repeated").key != trial(hotter, "ft repeated").key
    assert trial(params, "ft").key == trial(fewer, "ft").key
    assert trial(params, "ft").key != trial(params, "ft", seed=1).key
    others = [arm for arm in params.arms if "fast" not in arm]  # its rate is all that sets it apart
    assert len({trial(params, arm).key for arm in others}) == len(others)
    other_model = EvaluationRun("reversals", 0, params, "0" * 64, "ft", params.arms["ft"], 1e-3)
    assert other_model.key != trial(params, "ft").key


def test_a_renamed_arm_finds_its_old_trial(params, store):
    run_together([trial(params, "icl")], store)
    renamed = changed(
        params, arms={"in context": params.arms["icl"].plain()}, worlds={"reversals": params.worlds.reversals.plain()}
    )
    rows = runner.rows_of(evaluation_runs_of(renamed, store), store)
    assert set(rows["arm"]) == {"in context"}


def test_a_diverged_trial_is_a_record_without_rows(params, store, monkeypatch):
    def explode(*_args):
        raise work.Diverged("step 1 of 1: loss nan")

    monkeypatch.setattr(work, "finetune", explode)
    units = [trial(params, arm) for arm in ("ft", "ft retention")]
    assert run_together(units, store) == {}
    for unit in units:
        assert store.record(unit.key)["status"] == DIVERGED and "loss nan" in store.record(unit.key)["error"]
    assert runner.rows_of(units, store).empty


def test_a_failing_unit_does_not_take_the_others_with_it(params, store):
    # Not one of the articles fits into so short a context: icl fails, base does not.
    short = changed(
        params,
        worlds={"semantic": {"size": 9}},
        questions={**params.questions.plain(), "context_tokens": 16},
        arms={name: params.arms[name].plain() for name in ("base", "icl")},
    )
    with pytest.raises(RuntimeError, match=r"(?s)1 of 2 runs failed.*semantic / seed 0 / icl: ValueError: not one of"):
        run(short, store, say=lambda line: None)
    finished = {t.arm: store.has(t.key) for t in evaluation_runs_of(short, store)}
    assert finished == {"base": True, "icl": False}


def test_documents_that_do_not_fit_are_left_out_whole_and_it_is_told(params, store):
    # Documents of 400 facts do not fit the tiny model's positions.
    large = changed(
        params,
        worlds={"reversals": {"size": 200, "features": 2}},
        arms={name: params.arms[name].plain() for name in ("base", "icl")},
    )
    run(large, store, say=lambda line: None)
    record = store.record(trial(large, "icl").key)
    assert 0 < record["share_of_documents_in_context"] < record["share_of_facts_in_context"] < 1
    assert record["context_tokens"] < 1024


def test_units_of_another_store_are_read_and_never_written(params, tmp_path):
    published = Store(tmp_path / "published")
    unit = trial(params, "base")
    run_together([unit], published)
    mine = Store(tmp_path / "mine", (published.folder,))
    few = changed(params, arms={"base": {}}, worlds={"reversals": params.worlds.reversals.plain()})
    assert len(run(few, mine, say=lambda line: None)) > 0
    assert mine.has(unit.key) and not mine.folder.exists()


def test_content_hash_does_not_see_the_order_of_keys():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1}) != content_hash({"a": 1, "b": 3})


def test_identity_is_of_contents(params, tmp_path, model_folder):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in model_folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert identity(Model(name=str(copy))) == identity(params.model)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert identity(Model(name=str(copy))) != identity(params.model)


def test_a_model_that_is_not_there_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ParamsError, match="no config.json and safetensors weights there.*save_pretrained"):
        load(Model(name=str(tmp_path / "empty")))
    with pytest.raises(ParamsError, match=r"model.name = 'owner/name'.*make fetch MODEL=owner/name REVISION=a+`"):
        model_folder_of_hub()


def model_folder_of_hub():
    return model_folder(Model(name="owner/name", revision="a" * 40))


def test_a_device_that_is_not_there_is_refused():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ParamsError, match="model.device = 'cuda': not on this machine; here are: cpu"):
        pick_device(Model(device="cuda"))


def test_material_is_the_same_for_every_arm(params):
    assert prepare(params, "reversals", 0) == prepare(params, "reversals", 0)


def test_a_question_is_covered_by_its_true_answer_in_any_wording_and_misled_by_a_false_one(params):
    for name in params.world_names:
        world, questions = (lambda m: (m.world, m.questions))(prepare(params, name, 0))
        for question in questions:
            true, false = (
                [
                    world.parse(question.query + o)
                    for k, o in enumerate(question.options)
                    if (k in question.answers) is way
                ]
                for way in (True, False)
            )
            assert answers_in_text(world, question, set()) == (False, False)
            assert answers_in_text(world, question, {fact_and_answer(world, true[0])}) == (True, False)
            assert answers_in_text(world, question, {fact_and_answer(world, s) for s in false}) == (False, True)


def test_a_table_says_which_arms_have_no_answers_and_refuses_arms_with_other_questions(params, studied, tmp_path):
    _, rows = studied
    experiment = Experiment(params, tmp_path, "05_compare")
    whole = report.same_questions(experiment, rows)
    counts = rows[rows["arm"] == "ft"].groupby("world").size()
    assert whole["questions"].xs("itself", level=2).droplevel(1).to_dict() == counts.to_dict()
    assert set(whole["without answers"]) == {""}
    table = report.same_questions(experiment, rows[(rows["arm"] != "ft") | (rows["world"] != "family")])
    assert table.loc[("family", 0, "itself"), "without answers"] == "ft"
    with pytest.raises(ValueError, match="the arms of reversals, seed 0, did not answer the same questions"):
        report.same_questions(experiment, rows.drop(index=rows.index[rows["arm"] == "icl"][0]))


def test_a_folded_table_holds_text_and_never_markup_and_numbers_no_rows():
    table = pd.DataFrame({"said": ["<b>x</b>", None], "value": [1.5, float("nan")]})
    shown = folded("2 < 3", table).data
    assert shown.startswith("<details><summary>2 &lt; 3</summary>") and "<b>" not in shown and "NaN" not in shown
    assert "<th>0</th>" not in shown and "<th>a</th>" in as_html(table.set_axis(["a", "b"]))
    assert "<th>1</th>" in as_html(table.rename_axis("step"))


def test_a_study_without_rows_has_their_columns(tmp_path):
    rows = rows_of([], Store(tmp_path))
    assert rows.empty and {"arm", "split", "world", "correct", "chance"} <= set(rows.columns)
