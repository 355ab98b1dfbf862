"""The simulation of larger machines: right where the answer is known, and held against what was measured."""

import json
import random
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from transformers import LlamaForCausalLM

from study import cli
from study.flops import forward_flops, size_of
from study.params import load_params
from study.paths import PARAMS, RESULTS
from study.runner import _jobs, waves_of
from study.simulate import checks, run, scenario
from study.simulate.checks import Check, Measured
from study.simulate.demand import ITEM, Demand, weights_of
from study.simulate.plan import AGAIN, ALIKE, ASKING, LOSSES, READING, TRAINING, USEFUL, WORK, Plan, Way, limit
from study.simulate.scenario import Scenario, Shape, load_scenario, scenarios
from study.simulate.schedule import SCHEDULER, STORE, UNEVEN, WAITING, Job, Outcome, Rates, play
from study.store import Store
from study.strict import ParamsError

TINY = {"layers": 3, "width": 64, "inner": 160, "heads": 8, "kv_heads": 2, "vocabulary": 500, "positions": 4096}


def jobs_of(*seconds: float, gpus: int = 1) -> list[Job]:
    return [Job(gpus, {"work": one}) for one in seconds]


def given(name: str = "70b", **changed) -> Scenario:
    """A scenario of the repository with other values."""
    values = load_scenario(name).plain()
    for field, value in changed.items():
        values[field] = {**values[field], **value} if isinstance(value, dict) else value
    return Scenario.parse(values, "test")


# The schedule, where it is known in closed form.


def test_one_gpu_takes_the_sum_and_many_take_the_longest_of_each_wave():
    waves = [jobs_of(3, 1, 2), [], jobs_of(5, 4)]
    assert play(waves, 1).seconds == 15
    assert play(waves, 1000).seconds == 3 + 5


def test_the_longest_job_goes_first():
    assert play([jobs_of(1, 1, 1, 1, 4)], 2).seconds == 4
    assert play([jobs_of(2, 3, 4, 5, 6)], 2).seconds == 11  # 6 with 3 and 2, 5 with 4


def test_equal_jobs_take_whole_rounds():
    for gpus in (1, 2, 3, 5, 8):
        assert play([jobs_of(*[2.0] * 16)], gpus).seconds == 2 * -(-16 // gpus)


def test_wall_time_lies_between_its_bounds_and_falls_by_no_more_than_the_gpus_grow():
    """Graham's bound for any list schedule: no worse than twice the better of the two lower bounds."""
    rng = random.Random(0)
    for _ in range(50):
        jobs = jobs_of(*(rng.expovariate(1) for _ in range(rng.randint(1, 40))))
        total, longest = sum(job.seconds for job in jobs), max(job.seconds for job in jobs)
        for gpus in (1, 2, 5, 13):
            wall = play([jobs], gpus).seconds
            least = max(total / gpus, longest)
            assert least - 1e-9 <= wall <= total / gpus + longest * (1 - 1 / gpus) + 1e-9


@pytest.mark.parametrize("gpus", [4, 5, 7, 32])
def test_every_second_of_every_gpu_is_accounted_for(gpus):
    rng = random.Random(gpus)
    jobs = [
        Job(rng.choice([1, 2, 4]), {"a": rng.random(), "b": rng.random()}, 10, (Job(1, {"a": 1.0}),)) for _ in range(30)
    ]
    found = play([jobs, jobs_of(1, 2)], gpus, Rates(20, 100, 0.05))
    assert sum(found.spent.values()) == pytest.approx(gpus * found.seconds)
    assert found.jobs == 62 and min(found.spent.values()) >= 0
    assert found.spent["a"] == pytest.approx(sum(job.gpus * job.parts["a"] for job in jobs) + 30)


def test_the_scheduler_dispatches_one_job_after_the_other():
    found = play([jobs_of(*[0.0] * 100)], 1000, Rates(jobs_second=10))
    assert found.seconds == pytest.approx(10) and found.spent[SCHEDULER] > 0


def test_the_store_writes_one_result_after_the_other():
    found = play([[Job(1, {"work": 1.0}, stored=50)] * 8], 8, Rates(store_bytes_second=100, store_seconds=0.25))
    assert found.seconds == pytest.approx(1 + 8 * 0.5 + 0.25) and found.spent[STORE] == pytest.approx(
        8 * 0.25 + 0.5 * 36
    )


def test_what_follows_a_job_waits_for_it_and_a_wave_for_the_one_before():
    first = Job(2, {"work": 3.0}, then=(Job(1, {"work": 2.0}), Job(1, {"work": 1.0})))
    assert first.chain == 5
    found = play([[first], jobs_of(1)], 2)
    assert found.seconds == 6 and found.spent[WAITING] == 1 + 1


def test_gpus_that_no_job_fits_are_left_over():
    found = play([jobs_of(1, 1, gpus=4)], 7)
    assert found.seconds == 2 and found.spent[UNEVEN] == 3 and found.spent[WAITING] == 3


def test_a_job_larger_than_all_gpus_is_refused():
    with pytest.raises(ValueError, match="a job needs 8 GPUs, there are 4"):
        play([jobs_of(1, gpus=8)], 4)


def test_what_limits_is_the_work_or_else_the_largest_loss():
    spent = {TRAINING: 5.0, WAITING: 3.0, AGAIN: 2.0}
    assert limit(Outcome(1.0, 10, spent, 1)) == WORK
    assert limit(Outcome(1.0, 10, spent | {TRAINING: 4.0, AGAIN: 4.0 - 1, WAITING: 3.5}, 1)) == WAITING
    assert limit(Outcome(1.0, 10, {TRAINING: 1.0, AGAIN: 9.0}, 1)) == AGAIN


# What a model takes.


def test_a_model_measured_by_two_layers_is_the_whole_model():
    shape = Shape.parse({**TINY, "source": "test"}, "test")
    model = LlamaForCausalLM(shape.config(shape.layers))
    found = weights_of(shape, "full", 1)
    assert found.parameters == model.num_parameters() and found.size == size_of(model)
    adapted = weights_of(shape, "lora", 4)
    per_layer = 4 * (4 * 64 + 2 * (64 + 16) + 3 * (64 + 160))  # rank times both widths of the seven matrices
    assert adapted.trained == shape.layers * per_layer == adapted.parameters - found.parameters


@pytest.mark.parametrize(("name", "billions"), [("8b", 8.03), ("70b", 70.55), ("405b", 405.85)])
def test_the_shapes_are_those_of_the_models_they_name(name, billions):
    assert weights_of(load_scenario(name).model, "full", 1).parameters / 1e9 == pytest.approx(billions, abs=0.005)


def test_keys_and_values_are_those_of_the_models_cache():
    here = given("8b")
    assert Demand(here).key_bytes == 2 * 32 * 8 * 128 * ITEM
    assert Demand(here).asking_memory(1, False).keys == here.content.context * Demand(here).key_bytes


def test_no_more_gpus_are_taken_than_hold_a_trial():
    demand = Demand(given("70b"))
    for gpus, memory in (
        (demand.training_gpus("lora"), lambda n: demand.training_memory("lora", n)),
        (demand.asking_gpus(), lambda n: demand.asking_memory(n, False)),
    ):
        assert memory(gpus).total <= demand.room < memory(gpus // 2).total
    full, lora = (demand.training_memory(method, 8) for method in ("full", "lora"))
    assert full.optimizer > 100 * lora.optimizer and full.weights == pytest.approx(lora.weights, rel=0.01)
    assert demand.gpus == max(demand.training_gpus("lora"), demand.asking_gpus())
    assert Demand(demand.scenario, group=4).gpus == 4 * demand.gpus
    parameters = demand.plain.parameters
    assert full.weights + full.optimizer + full.gradients == pytest.approx(16 * parameters / 8)


def test_a_context_that_no_gpu_holds_whole_can_be_divided_by_heads_only():
    demand = Demand(load_scenario("million_tokens"))
    assert demand.asking_gpus(tensor=True) > 1
    with pytest.raises(
        ParamsError, match=r"asking takes .* of them keys, .* a group has 8 at most\. Use GPUs with more"
    ):
        demand.asking_gpus(tensor=False)
    values = load_scenario("405b").plain()
    with pytest.raises(ParamsError, match=r"training \(lora\) takes .* of them weights, .* or changed\.tensor"):
        Demand(Scenario.parse({**values, "changed": {}}, "test")).training_gpus("lora")


def test_a_group_that_passes_all_tokens_alike_is_no_faster_than_one_gpu():
    room = {"memory_gb": 1e4, "memory_gb_s": 1e9, "node_gb_s": 1e9}  # arithmetic alone
    as_it_is, divided = (Demand(given("8b", gpu=room, changed={"tensor": t}), group=4) for t in (False, True))
    alone = Demand(as_it_is.scenario)
    assert (alone.gpus, as_it_is.gpus, divided.gpus) == (1, 4, 4)
    assert as_it_is.question_seconds(1000) == pytest.approx(alone.question_seconds(1000))
    assert divided.question_seconds(1000) == pytest.approx(alone.question_seconds(1000) / 4, rel=0.01)
    parts = [demand.step_parts("full")["arithmetic"] for demand in (alone, as_it_is)]
    assert parts[1] == pytest.approx(parts[0] / 4)  # each trains on texts of its own


def test_arithmetic_alone_on_one_gpu_takes_its_operations_at_the_speed_assumed():
    here = given("8b", gpu={"memory_gb": 1e4, "memory_gb_s": 1e9})
    demand = Demand(here)
    speed = here.reached.arithmetic * here.gpu.bf16_tflops * 1e12
    assert demand.gpus == 1
    assert demand.pass_seconds(512, 1024, 1) == pytest.approx(forward_flops(demand.plain.size, 512, 1024, 512) / speed)
    assert Demand(here, faster=0.5).pass_seconds(512, 0, 1) == pytest.approx(2 * demand.pass_seconds(512, 0, 1))
    parts = demand.step_parts("full")
    tokens = 1.25 * here.study.finetuning.step_tokens
    assert parts["network"] == 0
    assert parts["arithmetic"] == pytest.approx(6 * 7.5e9 * tokens / speed, rel=0.05)


def test_reading_grows_with_the_square_of_a_context_and_asking_with_the_context():
    demand = Demand(given("8b", gpu={"memory_gb": 1e4}))
    short, middle, long = (demand.reading_seconds(tokens) for tokens in (2**14, 2**19, 2**20))
    assert 2.0 < demand.reading_seconds(2**15) / short < 2.5 and 3.5 < long / middle < 4
    questions = [demand.question_seconds(tokens) for tokens in (0, 10**5, 2 * 10**5)]
    assert questions[2] - questions[1] == pytest.approx(questions[1] - questions[0], rel=0.01)


# A whole scenario.


@pytest.fixture(scope="module")
def plan():
    arms = {
        "base": {},
        "icl": {"context": "documents"},
        "ft": {"train": ["documents"]},
        "ft local": {"train": ["documents", "local"]},
    }
    study = {
        "arms": arms,
        "worlds": {"reversals": "bundled", "family": "bundled"},
        "seeds": [0, 1],
        "finetuning": {"method": "lora"},
    }
    changed = {"tensor": True, "trained_shards": True}
    return Plan(given("70b", study=study, gpus=32, content={"questions": 100_000}, changed=changed))


def test_jobs_are_those_of_the_study(plan):
    """Of many shards the first is looked at, and one like all the others."""
    assert [len(wave) for wave in plan.jobs(Way())] == [len(wave) for wave in plan.waves(1)]
    shards = 5
    questions = plan.scenario.study.questions.model_copy(update={"shards": shards})
    study = plan.scenario.study.model_copy(update={"questions": questions})
    units = list(waves_of(study, Store(PARAMS / "nowhere")))
    assert [len(wave) for wave in plan.jobs(Way(shards=shards))] == [len(_jobs(wave)) for wave in units]
    assert len(units[2]) == shards * 2 * 2 * 2  # worlds, seeds, untrained arms
    trained = [job for job in plan.jobs(Way())[3] if TRAINING in job.parts]
    assert len(trained) == 2 * 2 * 2


def test_what_is_trained_is_asked_where_it_was_unless_that_is_changed(plan):
    values = plan.scenario.plain()
    as_it_is = Plan(Scenario.parse({**values, "changed": {"tensor": True}}, "test"))
    for shards in (1, 4):
        assert not any(job.then for wave in as_it_is.jobs(Way(shards=shards)) for job in wave)
    assert {len(job.then) for job in plan.jobs(Way(shards=4))[3] if TRAINING in job.parts} == {4}


def test_passes_that_each_gpu_makes_alike_are_lost(plan):
    values = plan.scenario.plain()
    as_it_is = Plan(Scenario.parse({**values, "changed": {}}, "test"))
    gpus = as_it_is.fewest
    for job in (job for wave in as_it_is.jobs(Way()) for job in wave if ASKING in job.parts):
        useful = job.parts[ASKING] + job.parts[READING]
        assert job.parts[ALIKE] == pytest.approx((gpus - 1) * useful)
    assert not any(ALIKE in job.parts for wave in plan.jobs(Way()) for job in wave)


def test_shards_repeat_the_context_and_divide_the_questions(plan):
    whole, divided = plan.jobs(Way()), plan.jobs(Way(shards=4))

    def spent(waves, name):
        found = Counter()
        for job in (job for wave in waves for first in wave for job in (first, *first.then)):
            found[name] += job.gpus * job.parts.get(name, 0)
        return found[name]

    assert spent(divided, ASKING) == pytest.approx(spent(whole, ASKING))
    assert spent(divided, READING) == pytest.approx(spent(whole, READING))
    assert spent(whole, AGAIN) == 0 and spent(divided, AGAIN) == pytest.approx(3 * spent(whole, READING))
    assert spent(divided, TRAINING) == pytest.approx(spent(whole, TRAINING))


def test_the_law_of_shards_is_a_constant_and_a_part_that_is_divided(plan):
    law = plan.shard_law().set_index("shards")
    demand, content = plan.demand, plan.scenario.content
    for shards in (1, 8, 64):
        line, asked = law.loc[shards], content.questions / shards * demand.question_seconds(content.context)
        assert line["seconds"] == pytest.approx(line["starting"] + demand.reading_seconds(content.context) + asked)
    even = law["reading dominates from"].iloc[0]
    assert content.questions / even * demand.question_seconds(content.context) == pytest.approx(law["reading"].iloc[0])


def test_more_gpus_are_never_slower_and_none_go_below_the_floor(plan):
    table = plan.table
    assert (np.diff(table["hours"]) <= 1e-9).all()
    assert (table["hours"] >= plan.floor / 3600 - 1e-9).all()
    assert (table["hours"] * table["GPUs"]).to_numpy() == pytest.approx(table["GPU-hours"].to_numpy())
    assert table[[*USEFUL, *LOSSES]].sum(axis=1).to_numpy() == pytest.approx(1)
    assert plan.fewest == table["GPUs"].iloc[0] and 32 in set(table["GPUs"])
    assert table["efficiency"].iloc[0] == 1 and table["efficiency"].iloc[-1] < 0.5
    assert plan.scales_to == table[table["efficiency"] >= 0.5]["GPUs"].max() >= 32
    assert (table["hours at half"] > table["hours"]).all() and (table["hours at twice"] < table["hours"]).all()
    assert (table["hours at half"] <= 2 * table["hours"] + 1e-9).all()


def test_cost_and_energy_are_of_all_gpus_for_all_of_the_time(plan):
    line, gpu = plan.table.iloc[0], plan.scenario.gpu
    assert line["dollars"] == pytest.approx(line["GPU-hours"] * gpu.dollars_hour)
    assert line["MWh"] == pytest.approx(line["GPU-hours"] * gpu.watts / 1e6)
    values = plan.scenario.plain()
    values["gpu"]["watts"] = None
    assert np.isnan(Plan(Scenario.parse(values, "test"))._line(plan.fewest)["MWh"])


def test_too_few_gpus_for_one_trial_end_in_an_error(plan):
    with pytest.raises(ParamsError, match=r"gpus = 2: one trial alone needs \d of them; give as many"):
        Plan(plan.scenario.model_copy(update={"gpus": 2})).best(2)


# Settings.


@pytest.mark.parametrize("name", scenarios())
def test_every_scenario_says_where_its_numbers_are_from(name):
    here = load_scenario(name)
    assert here.gpu.source and here.gpu.price_source and here.gpu.price_date and here.executor.source
    assert here.content.context <= here.model.positions
    Plan(here).fewest  # noqa: B018 (raises if it does not fit)


def test_scenarios_of_a_size_come_first_by_it():
    assert scenarios()[:4] == ["8b", "8b_l4", "70b", "405b"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gpu": {"bf16_tflops": 0}}, r"gpu\.bf16_tflops = 0: Input should be greater than 0"),
        ({"model": {"kv_heads": 3}}, r"model: .*kv_heads 3: heads must divide the width"),
        (
            {"study": {"model": {"name": "x"}}},
            r"study: model and ladder: the model is the scenario's own; leave them out",
        ),
        ({"study": {"seed": 1}}, r"study\.seed = 1: no such setting; allowed here: arms"),
        ({"content": {"pages": 3}}, r"content\.pages = 3: no such setting; allowed here: document_tokens, documents"),
        ({"reached": {"arithmetic": 1.5}}, r"reached\.arithmetic = 1\.5: Input should be less than or equal to 1"),
        ({"usable": 2.0}, r"usable = 2\.0: Input should be less"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ParamsError, match=message):
        given(**change)


def test_a_scenario_that_names_no_gpu_of_ours_lists_those(tmp_path, monkeypatch, capsys):
    (tmp_path / "gpus").mkdir()
    (tmp_path / "gpus" / "one.yaml").write_text("{}")
    (tmp_path / "mine.yaml").write_text("{gpu: other}")
    monkeypatch.setattr(scenario, "SCENARIOS", tmp_path)
    with pytest.raises(ParamsError, match=r"gpu = 'other': no .*other\.yaml; there are: one"):
        load_scenario("mine")
    assert cli.main(["simulate", "--scenario", "none"]) == 1
    assert "SCENARIO = 'none'" in capsys.readouterr().err


# Against measurements.


def test_the_jobs_of_records_are_those_of_the_study(published):
    params, results = published
    measured = Measured(params, results)
    store = Store(results / "trials")
    units = list(waves_of(params, store))
    assert [len(wave) for wave in measured.waves(measured.records)] == [len(_jobs(wave)) for wave in units]
    seconds = sum(job.seconds for wave in measured.waves(measured.records) for job in wave)
    records = [store.record(unit.key) for wave in units for unit in wave]
    trained = sum(record["training"]["seconds"] for record in records if "training" in record)  # by one arm alone
    looks = sum(len(record.get("curve", ())) * record["scoring_seconds"] for record in records)
    assert seconds == pytest.approx(sum(record["seconds"] for record in records) + trained + looks)


def test_pages_executed_in_one_go_are_compared_and_others_are_not(published, tmp_path):
    params, results = published
    measured = Measured(params, results)
    measured.results = tmp_path
    (tmp_path / "stamps").mkdir()
    pages = {measured.page(record) for record in measured.records}
    assert pages == {"02_in_context", "03_finetune"}
    for page in ("01_generate_data", *pages):
        (tmp_path / "stamps" / f"{page}.json").write_text(json.dumps({"seconds": 1000}))
    own, _ = checks.schedule(measured, 2)
    assert len(own.measured) == 2 and all(seconds > 1000 for seconds in own.predicted)
    (tmp_path / "stamps" / "03_finetune.json").write_text(json.dumps({"seconds": 0}))
    own, _ = checks.schedule(measured, 2)
    assert not own.measured and "1 pages found units done" in own.note and np.isnan(own.line()["median"])


def test_several_machines_are_compared_with_one(published, tmp_path):
    measured = Measured(*published)
    assert not list(checks.cluster(measured, tmp_path / "cluster.csv"))
    pd.DataFrame({"nodes": [1, 1, 2], "seconds": [10.0, 12.0, 11.0]}).to_csv(tmp_path / "cluster.csv")
    measured.results = tmp_path
    (tmp_path / "stamps").mkdir()
    (tmp_path / "stamps" / "01_generate_data.json").write_text(json.dumps({"seconds": 5}))
    walls, faster = checks.cluster(measured, tmp_path / "cluster.csv")
    assert walls.measured == [11.0, 11.0] and faster.measured == [1.0]
    total = sum(job.seconds for wave in measured.waves(measured.records) for job in wave)
    pages = 5 * 3  # the first, and the two that run these units
    assert walls.predicted[0] == pytest.approx(pages + total)
    assert pages + total / 2 <= walls.predicted[1] <= pages + total
    assert faster.predicted[0] == pytest.approx(walls.predicted[0] / walls.predicted[1])


def test_a_check_is_the_ratio_of_foretold_to_measured():
    line = Check("x", "y", [1.0, 2.0, 3.0], [1.0, 1.0, 1.0], "s").line()
    assert (line["n"], line["median"]) == (3, 2.0) and 1 < line["10 %"] < 2 < line["90 %"] < 3


def test_long_contexts_and_many_questions_are_foretold_from_short_ones():
    """The benchmark as published: each largest point within a third of what the smaller ones foretell."""
    found = {check.of: check.line()["median"] for check in checks.law(RESULTS / "bench")}
    assert len(found) == len(checks.LAW) + 1
    assert all(2 / 3 < ratio < 3 / 2 for ratio in found.values()), found


@pytest.mark.parametrize("which", [0, 1])
def test_the_published_trials_are_foretold_within_bounds(which):
    """The middle of each check within a factor of two: the machine did other things meanwhile."""
    measured = Measured(load_params(PARAMS / "default.yaml"), RESULTS / "default")
    study = measured.studies[which]
    found = [check.line() for check in (*checks.times(measured, study), *checks.counts(measured, study))]
    assert len(found) == 5 and all(line["n"] >= 8 for line in found)
    assert all(0.5 < line["median"] < 2 for line in found), found
    assert all(0.1 < line["10 %"] <= line["90 %"] < 10 for line in found), found


def test_the_published_peaks_of_memory_are_foretold_within_a_sixth():
    measured = Measured(load_params(PARAMS / "default.yaml"), RESULTS / "default")
    found = [check.line() for check in checks.memory(measured)]
    assert len(found) == 4
    assert all(5 / 6 < line["10 %"] <= line["90 %"] < 6 / 5 for line in found), found


def test_all_is_printed_and_written(plan, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run, "scenarios", lambda: ["small"])
    monkeypatch.setattr(run, "load_scenario", lambda name: plan.scenario)
    lines = [Check("a", "b", [1.0, 2.0], [1.0, 1.5], "s").line(), Check("c", "d", [], [], "s", "not yet").line()]
    monkeypatch.setattr(run, "checked", lambda folder: pd.DataFrame(lines))
    assert run.run("", tmp_path) == 0
    out = capsys.readouterr().out
    assert f"on so many GPUs (there are {plan.scenario.gpus})" in out and "the work itself" in out and "not yet" in out
    names = ("scaling", "losses", "shards", "checks")
    files = {f"{name}.{kind}" for name in names for kind in ("png", "svg", "csv", "txt")} | {"needs.csv", "summary.csv"}
    assert {path.name for path in tmp_path.iterdir()} == files
    table = pd.read_csv(tmp_path / "scaling.csv")
    assert table["hours"].to_numpy() == pytest.approx(plan.table["hours"].to_numpy(), rel=1e-4)
    assert (
        set(table["limits"]) <= {WORK, *LOSSES}
        and f"{table['GPUs'].iloc[-1]:,}" in (tmp_path / "scaling.txt").read_text()
    )
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert run.run("small", tmp_path) == 0  # one by name: printed, nothing written
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}
    run.run("", tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}
