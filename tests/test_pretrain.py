import json
import random
import re
import shutil
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import pytest
import torch

from study.base_model import make as base_model
from study.base_model import pretrain
from study.base_model import report as base_report
from study.base_model.architecture import build_model, grown
from study.base_model.corpus import inferences_by_fact, small_world, steps_to, write_text
from study.base_model.pretrain import Batches, NotFinite, PretrainingRun, standing
from study.base_model.recipe import RECIPES, Pretraining, Stage, load_recipe
from study.base_model.skill import skill_rows, stage_skill
from study.base_model.tokenizer import build_tokenizer
from study.cli import main
from study.config import ParamsError
from study.data.questions import make_documents
from study.digest import sha256_of
from study.lm.loading import load
from study.lm.prompts import CLOSED_CLASS
from study.params import Model, Statistics
from study.worlds import DRAWN, closed_class_words
from study.worlds.words import OPENINGS, PRETRAINING, VALIDATION, draw_words, lexicon_of
from study.worlds.world import Split

RECIPE = load_recipe(RECIPES / "cpu.yaml")
FURTHER = load_recipe(RECIPES / "default.yaml")
STAGES = RECIPE.stages
SMALL = {"worlds": ["deeds"], "facts": 3, "row_tokens": 48, "openings": 24, "gate": 0.99, "batch_tokens": 192}
TINY = Pretraining.parse(
    {
        "architecture": {"width": 32, "head_width": 8, "positions": 256},
        "cooldown_tokens": 1000,
        "warmup_steps": 5,
        "stages": [
            {**SMALL, "layers": 2, "most_tokens": 4000, "check_tokens": 1000},
            {**SMALL, "layers": 3, "most_tokens": 2000, "check_tokens": 1000},
        ],
    },
    "test",
)


def lighten(patch: pytest.MonkeyPatch) -> None:
    """One core, for other tests run on the other one, and checks of skill on few worlds."""
    patch.setattr(base_model, "available_cores", lambda: 1)
    patch.setattr(pretrain, "stage_skill", lambda *given, worlds: stage_skill(*given, worlds=2))


@pytest.fixture(autouse=True)
def light(monkeypatch):
    lighten(monkeypatch)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A folder with the states of a run of TINY and the model that came of it."""
    place = tmp_path_factory.mktemp("pretrained")
    with pytest.MonkeyPatch.context() as patch:
        lighten(patch)
        patch.setattr(base_model, "BUILD", place / "build")
        run = base_model.pretrain(TINY, place / "model", lambda line: None)
    return place, run


@pytest.fixture
def first(pretrained, tmp_path, monkeypatch):
    """The same in a folder of the test's own, and the run."""
    shutil.copytree(pretrained[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(base_model, "BUILD", tmp_path / "build")
    return pretrained[1]


def test_a_text_survives_the_tokenizer(tokenizer, world):
    for statement in world.statements:
        text = f"consider: {world.render(statement)} so: {world.render(statement)}"
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text


def test_every_nonsense_word_is_two_tokens_and_every_other_word_one(tokenizer):
    words = draw_words(random.Random(0), 300, PRETRAINING)
    assert all(len(tokenizer.tokenize(word)) == 2 for word in words)
    assert all(len(tokenizer.tokenize(word)) == 1 for word in closed_class_words(CLOSED_CLASS))
    assert not set(closed_class_words(CLOSED_CLASS)) & set(OPENINGS)


@pytest.mark.parametrize("stage", [*STAGES, *FURTHER.stages])
def test_pretraining_reads_pretraining_words_only_and_true_inferences_only(tokenizer, stage):
    closed = {*closed_class_words(CLOSED_CLASS), ""}
    for k in range(20):
        text = write_text(random.Random(k), stage, PRETRAINING, stage.row_tokens)
        words = {w.strip(".,?") for w in f"{text.prompt} {text.continuation}".split()} - closed
        assert {lexicon_of(word) for word in words} == {PRETRAINING.name}
        assert tokenizer.unk_token_id not in tokenizer(f"{text.prompt} {text.continuation}").input_ids


def test_the_one_statement_of_a_local_text_may_be_a_rule_a_symbol_or_an_expression():
    alone = {"worlds": ("process",), "review": 0.0, "global_": 0.0, "local": 1.0}
    stage, closed = STAGES[-1].model_copy(update=alone), {*closed_class_words(CLOSED_CLASS), ""}
    prompts = [write_text(random.Random(k), stage, PRETRAINING, 256).prompt for k in range(30)]
    names = {len([word for word in re.split(r"[\s.,?]+", prompt) if word not in closed]) for prompt in prompts}
    assert {1, 2, 6} <= names, "operator; symbol and result; expression and result"


def test_nothing_is_inferred_twice_in_a_review():
    stage = Stage(worlds=("roles", "family"), facts=6, row_tokens=512, rounds=(9, 9), most_tokens=1)
    for k in range(10):
        inferences = write_text(random.Random(k), stage, PRETRAINING, 2048).continuation.removesuffix(".").split(". ")
        assert len(inferences) == len(set(inferences)) > 1


def test_what_is_inferred_is_entailed_by_what_is_stated():
    rng = random.Random(0)
    for name in DRAWN:
        world = small_world(rng, name, PRETRAINING, 8, one_relation=False)
        documents = make_documents(world, rng, 2)
        for fact, inferences in inferences_by_fact(world, documents, wordings=3).items():
            assert fact in world.facts
            assert all(form.fact in world.closure for forms in inferences.by_split.values() for form in forms)
            assert inferences.reversals or inferences.restatements


@pytest.mark.parametrize("name", ["family", "semantic", "syllogisms", "process"])
def test_the_steps_to_a_chain_are_its_support_and_lead_from_what_is_asked_to_the_answer(name):
    rng = random.Random(1)
    world = small_world(rng, name, PRETRAINING, 16, one_relation=False)
    documents = make_documents(world, rng, 1)
    chains = {s for inferences in inferences_by_fact(world, documents, 9).values() for s in inferences.chains}
    assert chains
    for conclusion in sorted(chains):
        steps = steps_to(world, rng, conclusion, 9)
        assert {step.fact for step in steps} == world.closure[conclusion.fact].supports
        assert len(steps) == world.closure[conclusion.fact].hops
        fact = conclusion.fact
        asked = fact.subject if world.answer(conclusion) == fact.object else fact.object
        first = steps[0].fact
        assert set(asked.split()) & {*first.subject.split(), *first.object.split()}


def test_loss_falls_on_the_continuation_only(tokenizer):
    ids, labels, _ = Batches(tokenizer, STAGES[4].model_copy(update={"batch_tokens": 1024}), "0")[0]
    assert ids.shape == labels.shape == (4, 256)
    learned = labels != -100
    assert (labels[learned] == ids[learned]).all() and learned.any() and not learned.all()
    cue = tokenizer.convert_tokens_to_ids("so:")
    for row, mask in zip(ids.tolist(), learned.tolist(), strict=True):
        # Nothing before the first cue carries loss, the token after it does.
        first = row.index(cue)
        assert not any(mask[: first + 1]) and mask[first + 1]


def test_what_answers_has_full_weight_and_what_leads_to_it_less(tokenizer):
    stage = STAGES[4].model_copy(update={"lead_weight": 0.25, "batch_tokens": 1024, "worlds": ("syllogisms", "family")})
    _, labels, weights = Batches(tokenizer, stage, "0")[0]
    learned = labels != -100
    assert set(weights[learned].tolist()) == {0.25, 1.0}
    text = write_text(random.Random(0), stage.model_copy(update={"worlds": ("family",)}), PRETRAINING, 512)
    answers = [text.continuation[begin:end] for begin, end in text.answers]
    assert answers and all(re.fullmatch(r"\w+\.", answer) for answer in answers)
    assert len(answers) == text.continuation.count(".")


def test_the_gradient_of_parts_is_that_of_the_whole(tokenizer, monkeypatch):
    monkeypatch.setattr("study.base_model.pretrain.has_bfloat16", lambda: False)
    batch = Batches(tokenizer, TINY.stages[0].model_copy(update={"lead_weight": 0.5}), "0")[0]
    found = []
    for parts in (1, 3):
        run = PretrainingRun(TINY, "cpu")
        run.parts = parts
        found.append((run.gradients(batch), [p.grad for p in run.model.parameters()]))
    assert found[0][0] == pytest.approx(found[1][0])
    for one, three in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, three, rtol=1e-3, atol=1e-5)


@pytest.mark.nightly
def test_a_batch_is_the_same_whoever_writes_it_and_when(tokenizer):
    batches = Batches(tokenizer, STAGES[4].model_copy(update={"batch_tokens": 512}), "0")
    alone = [batch.ids for _, batch in zip(range(3), batches.stream(2, workers=0), strict=False)]
    get_context("forkserver").set_forkserver_preload(["study.base_model.pretrain"])
    helped = [batch.ids for _, batch in zip(range(3), batches.stream(2, workers=2), strict=False)]
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))
    assert torch.equal(alone[0], batches[2].ids) and not torch.equal(alone[0], alone[1])


def test_attention_starts_on_neighbours_and_on_equal_words():
    tokenizer = build_tokenizer()
    model = build_model(RECIPE.architecture, len(tokenizer), 4, seed=3)
    model.set_attn_implementation("eager")
    stage = STAGES[0].model_copy(update={"openings": len(OPENINGS)})
    ids = Batches(tokenizer, stage, "0")[0].ids
    with torch.no_grad():
        attentions = model(ids[:8], output_attentions=True).attentions
    for head in range(8):
        assert (20 - attentions[0][:, head, 20].argmax(-1) == head + 1).all()
    assert (attentions[1][:, :, 20].argmax(-1) == 20).float().mean() > 0.9


def test_a_grown_model_computes_the_same_and_every_new_weight_learns(tokenizer):
    run = PretrainingRun(TINY, "cpu")
    batch = Batches(tokenizer, TINY.stages[0], "0")[0]
    deeper = grown(run.model, 5)
    with torch.no_grad():
        torch.testing.assert_close(deeper(batch.ids).logits, run.model(batch.ids).logits)
    run._use(deeper)
    before = {name: p.clone() for name, p in deeper.named_parameters()}
    for _ in range(3):
        run.train_step(batch, 1.0)
    assert [name for name, p in deeper.named_parameters() if torch.equal(p, before[name])] == []


def _stopped_after(checks: int, run: PretrainingRun, folder) -> None:
    """Train until so many checks were made, as if the machine had failed then."""

    def say(line: str) -> None:
        nonlocal checks
        checks -= 1
        if checks < 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        while run.place.stage < len(run.recipe.stages):
            run.train_stage(say, folder)


@pytest.mark.nightly
def test_a_run_that_was_stopped_goes_on_bit_for_bit(first, tmp_path):
    whole = PretrainingRun(TINY, "cpu")  # as it was before it was shipped, which rounds it
    whole.resume(base_model.state_folder(TINY, 0, 1))
    assert len(whole.model.model.layers) == 3
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]
    for checks in (2, 4):  # in the first stage; in the second, when the model has grown
        _stopped_after(checks, PretrainingRun(TINY, "cpu"), tmp_path / str(checks))
        resumed = PretrainingRun(TINY, "cpu", seed=99)
        resumed.resume(tmp_path / str(checks))
        assert 0 < resumed.place.tokens < whole.place.tokens
        while resumed.place.stage < 2:
            resumed.train_stage(lambda line: None)
        assert resumed.place == whole.place and resumed.history == whole.history
        assert all(torch.equal(p, q) for p, q in zip(whole.model.parameters(), resumed.model.parameters(), strict=True))


def test_a_torn_checkpoint_is_refused(tmp_path):
    run = PretrainingRun(TINY, "cpu")
    run.save(tmp_path)
    run.save(tmp_path)
    assert len(list(tmp_path.glob("state-*.pt"))) == 1
    state = next(tmp_path.glob("state-*.pt"))
    state.write_bytes(state.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is not what its manifest says; remove .* to begin again"):
        PretrainingRun(TINY, "cpu").resume(tmp_path)


def test_a_loss_that_is_not_finite_stops_the_run_before_the_weights_are_touched(tokenizer):
    run = PretrainingRun(TINY, "cpu")
    batch = Batches(tokenizer, TINY.stages[0], "0")[0]
    with torch.no_grad():
        run.model.model.embed_tokens.weight[int(batch.ids[0, 1])] = float("nan")
    before = run.model.model.layers[0].mlp.up_proj.weight.clone()
    with pytest.raises(NotFinite, match="at stage 0, step 0, .* lower muon_learning_rate .now 0.015."):
        run.train_step(batch, 1.0)
    assert torch.equal(run.model.model.layers[0].mlp.up_proj.weight, before)


def test_a_gate_counts_what_its_stage_teaches():
    skill = {"family/two hops": 0.5, "family/reversal": 1.0, f"family/{Split.STATED}": 0.0}
    stage = Stage(facts=3, row_tokens=64, most_tokens=1)
    assert standing(skill, stage) == 0.75
    assert standing(skill, stage.model_copy(update={"restate": 0.1})) == 0.5
    assert standing(skill, stage.model_copy(update={"chains": 0.0})) == 1.0


@pytest.mark.nightly
def test_the_quickest_seed_of_a_race_is_shipped_and_loads_as_a_model_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(base_model, "BUILD", tmp_path / "build")
    lines: list[str] = []
    recipe = Pretraining.parse({**TINY.plain(), "race": {"seeds": 2, "stages": 1}}, "test")
    run = base_model.pretrain(recipe, tmp_path / "model", lines.append)
    assert "seed 0 goes on" in lines  # of two that are as quick, the first
    assert {line["seed"] for line in run.history} == {0, 1}
    assert base_model.race_table(tmp_path / "model", recipe).index.tolist() == [0, 1]
    model, tokenizer = load(Model(name=str(tmp_path / "model"), device="cpu"))
    assert model.dtype == torch.float32 and tokenizer.vocab_size == len(run.tokenizer)
    assert model.config.num_hidden_layers == 3
    assert "pretrained from scratch" in (tmp_path / "model" / "README.md").read_text()
    assert json.loads((tmp_path / "model" / "pretraining.json").read_text())["recipe"] == recipe.plain()
    again = base_model.pretrain(recipe, tmp_path / "again", lines.append)  # from the checkpoints: nothing is trained
    assert "seed 0: taken up at 0.01 M tokens" in lines and again.place == run.place


@pytest.mark.nightly
def test_a_recipe_goes_on_from_the_last_stage_that_another_has_in_common(first, tmp_path, monkeypatch):
    longer = TINY.plain()
    longer["stages"][1]["most_tokens"] += 1000
    recipe = Pretraining.parse(longer, "test")
    lines: list[str] = []
    extended = base_model.pretrain(recipe, tmp_path / "longer", lines.append)
    assert "taken up" in lines[0] and extended.history[0]["stage"] == 0
    monkeypatch.setattr(base_model, "BUILD", tmp_path / "other")
    anew = base_model.pretrain(recipe, tmp_path / "anew", lambda line: None)
    assert anew.place == extended.place
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("longer", "anew")]
    assert weights[0] == weights[1]


def further(start: Path, **changed: object) -> Pretraining:
    """A recipe that goes on from a model of TINY's shape."""
    architecture = {**TINY.architecture.plain(), **changed}
    stage = {**SMALL, "layers": 3, "most_tokens": 1000, "check_tokens": 1000}
    return Pretraining.parse({"start": str(start), "architecture": architecture, "stages": [stage]}, "test")


def test_a_model_is_trained_further_from_the_weights_it_has(first, tmp_path):
    recipe = further(tmp_path / "model")
    begun = PretrainingRun(recipe, "cpu")
    for mine, theirs in zip(begun.model.parameters(), first.model.parameters(), strict=True):
        assert torch.equal(mine, theirs.to(torch.bfloat16).float())  # as they were shipped
    run = base_model.pretrain(recipe, tmp_path / "second", lambda line: None)
    assert run.place.tokens == 1152 and run.place.layers == 3
    told = json.loads((tmp_path / "second" / "pretraining.json").read_text())
    assert told["start_sha256"] == sha256_of(tmp_path / "model" / "model.safetensors")
    assert f"pretrained from `{tmp_path / 'model'}`" in (tmp_path / "second" / "README.md").read_text()
    # Other weights to start from lead elsewhere.
    place = base_model.state_folder(recipe, 0, 0)
    base_model.ship(begun, tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"others")
    assert base_model.state_folder(recipe, 0, 0) != place


def test_a_model_to_start_from_must_be_there_and_of_the_shape_that_is_asked_for(tmp_path):
    base_model.ship(PretrainingRun(TINY, "cpu"), tmp_path / "first")
    with pytest.raises(ParamsError, match=r"start = .*nowhere.*: no model there; make it with `make base-model SIZE="):
        PretrainingRun(further(tmp_path / "nowhere"), "cpu")
    with pytest.raises(ParamsError, match=r"architecture\.width = 64: the model in start = .* has 32"):
        PretrainingRun(further(tmp_path / "first", width=64), "cpu")


def test_a_model_that_the_same_recipe_made_is_not_made_again(first, tmp_path):
    lines: list[str] = []
    file = tmp_path / "model" / "model.safetensors"
    weights = file.read_bytes()
    base_model.make(TINY, tmp_path / "model", lines.append)
    assert "stays as it is" in lines[-1] and file.read_bytes() == weights
    other = TINY.model_copy(update={"seed": 1})
    base_model.make(other, tmp_path / "model", lines.append)
    assert "stays as it is" not in lines[-1] and file.read_bytes() != weights


def test_the_shipped_models_go_on_from_each_other():
    told = json.loads((base_model.folder_of("default") / "pretraining.json").read_text())
    assert told["recipe"] == FURTHER.plain()
    assert told["start_sha256"] == sha256_of(base_model.folder_of("cpu") / "model.safetensors")


@pytest.mark.parametrize("rounds", [(0.0, 1.0), (2.0, 1.0)])
def test_rounds_that_cannot_be_are_refused(rounds):
    with pytest.raises(ParamsError, match=r"rounds = .*: use two numbers above 0, the smaller one first"):
        Stage.parse({"facts": 3, "row_tokens": 64, "most_tokens": 1, "rounds": rounds}, "test")


def test_the_bundled_model_reads_thirty_two_facts_backwards():
    model, tokenizer = load(Model(device="cpu"))
    stage = Stage(worlds=("reversals",), facts=32, row_tokens=64, wordings=3, most_tokens=1)
    right = stage_skill(model, tokenizer, stage, worlds=3, asked=8)
    assert right[f"reversals/{Split.REVERSAL}"] >= 0.9


def test_the_bundled_tokenizer_is_the_one_the_wordings_give(tokenizer):
    _, bundled = load(Model(device="cpu"))
    assert bundled.get_vocab() == tokenizer.get_vocab()


def test_skill_is_measured_on_held_out_words(monkeypatch):
    from study.base_model import skill

    seen = []
    original = skill.small_world
    monkeypatch.setattr(
        skill,
        "small_world",
        lambda rng, name, lexicon, *rest, **more: (
            seen.append(lexicon.name) or original(rng, name, lexicon, *rest, **more)
        ),
    )
    run = PretrainingRun(TINY, "cpu")
    assert set(stage_skill(run.model, run.tokenizer, TINY.stages[0], worlds=2)) == {
        f"deeds/{split}" for split in (Split.REVERSAL, Split.STATED)
    }
    rows = skill_rows(run.model, run.tokenizer, ["roles"], 6, instances=2, per_split=3)
    assert set(seen) == {VALIDATION.name}
    assert set(rows["split"]) == {"as stated", "rephrased", "reversal"} and rows["seed"].nunique() == 2
    assert rows["confidence"].between(rows["chance"], 1).all()


@pytest.mark.parametrize("name", ["deeds", "syllogisms", "process"])
def test_a_check_of_skill_asks_about_no_more_facts_than_fit(name):
    run = PretrainingRun(TINY, "cpu")
    stage = Stage(worlds=(name,), facts=200, row_tokens=256, most_tokens=1)
    assert stage_skill(run.model, run.tokenizer, stage, worlds=2)


def test_a_target_is_met_when_the_mean_reaches_it():
    skills = pd.DataFrame(
        [
            {"world": t.world, "split": str(t.split), "facts": t.facts, "value": t.target, "low": 0.0, "high": 1.0}
            for t in base_report.TARGETS
            if t.skill == base_report.ACCURACY
        ]
    )
    nothing = pd.DataFrame(columns=["source", "world", "measure", "split", "value"], dtype=object)
    targets = base_report.target_table(skills, nothing)
    assert base_report.verdict(targets) == "8 met, 4 short"  # what was not measured is short
    skills["value"] -= 0.001
    assert base_report.verdict(base_report.target_table(skills, nothing)) == "0 met, 12 short"


def test_a_shortfall_is_told_with_fewer_facts_and_with_its_curve():
    where = {"world": "family", "split": "two hops"}
    targets = pd.DataFrame(
        [
            {"skill": base_report.ACCURACY, **where, "facts": 32, "measured": 0.5, "target": 0.9, "met": False},
            {"skill": base_report.ACCURACY, **where, "facts": 16, "measured": 0.9, "target": 0.9, "met": True},
        ]
    )
    skills = pd.DataFrame([{**where, "facts": facts, "value": value} for facts, value in ((8, 0.8), (32, 0.5))])
    history = pd.DataFrame(
        [
            {"stage": stage, "tokens": tokens, "skill": "family/two hops", "accuracy": right}
            for stage, tokens, right in (
                *((0, k, 0.9) for k in range(6)),
                (1, 10, 0.1),
                (1, 20, 0.3),
                (1, 30, 0.4),
                (1, 40, 0.6),
            )
        ]
    )
    (short,) = base_report.shortfalls(targets, skills, history).to_dict("records")
    assert (short["fewest facts"], short["measured there"], short["facts"]) == (8, 0.8, 32)
    assert short["rose in training by"] == pytest.approx(0.3)


def test_calibration_compares_confidence_with_accuracy():
    rows = pd.DataFrame({"confidence": [0.95] * 4 + [0.3] * 2, "correct": [True, True, True, False, False, False]})
    assert base_report.calibration_error(rows) == pytest.approx((4 * 0.2 + 2 * 0.3) / 6)
    assert base_report.calibration_table(rows)["items"].tolist() == [2, 4]


@pytest.mark.nightly
def test_text_of_its_own_is_measured_by_world_and_over_all(monkeypatch):
    monkeypatch.setattr(base_report, "STUDIED", ("syllogisms",))
    model, tokenizer = load(Model(device="cpu"))
    rows = base_report.generation_rows(model, tokenizer, instances=1)
    table = base_report.generation_table(rows, Statistics())
    local = table[(table["source"] == "local") & (table["world"] == "all")].set_index(["measure", "split"])
    assert local.loc[("precision", ""), "value"] > 0.7 and local.loc[("recall", "reversal"), "value"] > 0.7


@pytest.mark.nightly
def test_the_report_measures_prints_and_leaves_a_card(tmp_path, monkeypatch, capsys):
    for name, value in (("FACTS", (4,)), ("MOST_FACTS", 8), ("STUDY_FACTS", 4), ("STUDIED", ("reversals",))):
        monkeypatch.setattr(base_report, name, value)
    wide = {**TINY.plain(), "architecture": {"width": 32, "head_width": 8, "positions": 2048}}
    base_model.ship(PretrainingRun(Pretraining.parse(wide, "test"), "cpu"), tmp_path)
    monkeypatch.setattr(base_model, "folder_of", lambda size: tmp_path)
    assert main(["base-report"]) == 1
    assert capsys.readouterr().out.strip().splitlines()[-1] == "0 met, 12 short"
    skills = pd.read_csv(tmp_path / "skills.csv")
    assert set(skills["facts"]) == {4, 8} and (skills["low"] <= skills["high"]).all()
    generation = pd.read_csv(tmp_path / "generation.csv")
    assert "recall" in set(generation["measure"])
    card = (tmp_path / "README.md").read_text()
    assert "**0 met, 12 short**" in card and "expected calibration error" in card and "nan tokens" not in card
    base_report.facts_figure(tmp_path)
    assert (tmp_path / "skills_by_facts.png").stat().st_size > 1000


def test_a_model_that_was_not_made_cannot_be_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(base_model, "folder_of", lambda size: tmp_path)
    assert main(["base-report", "--size", "small"]) == 1
    assert "SIZE = 'small': no model in" in capsys.readouterr().err
