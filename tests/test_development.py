"""What the published study takes as given was chosen on development seeds, by the tables that are published."""

import pandas as pd
import pytest

from study.params import load_params
from study.paths import PARAMS, RESULTS
from study.runs.runner import evaluation_runs_of
from study.runs.selection import chosen, selection_runs
from study.runs.store import Store

PAGES = ("03_finetune", "04_augmented_finetune")
FULL, DEVELOPMENT = (load_params(PARAMS / f"{name}.yaml") for name in ("full", "development"))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Accuracy of each arm at each rate and splitting on the selection seeds, and what was chosen."""
    return pd.concat(pd.read_csv(RESULTS / "development" / page / "learning_rates.csv") for page in PAGES)


def test_rates_and_splittings_are_those_that_were_chosen(table):
    for label, choice in FULL.finetuning.chosen.items():
        here = table[(table["arm"] == label) & table["chosen"]].set_index("splitting")["learning rate"]
        assert here.drop("whole", errors="ignore").tolist() == [choice.rate], label
        assert set(choice.whole.values()) <= {here.get("whole")}, label
    chosen = set(FULL.finetuning.chosen)
    assert all(
        label in chosen
        for label, arm in FULL.arms.items()
        if arm.train and not (arm.rate_of or arm.context or arm.reseed or len(arm.learning_rates or "12") == 1)
    )


@pytest.mark.parametrize("study", ["full", "default"])
def test_no_two_arms_of_a_dataset_are_the_same_run(study, tmp_path):
    params = load_params(PARAMS / f"{study}.yaml")
    store = Store(tmp_path)
    assert not selection_runs(params)  # all is chosen
    one = params.model_copy(update={"seeds": params.seeds[:1]})
    for part in (one, *one.other_models):
        runs = evaluation_runs_of(part, store)
        assert len({run.key for run in runs}) == len(runs) > 0


def test_an_arm_of_one_rate_trains_at_it(tmp_path):
    rates = {label: choice.rate for label, choice in chosen(FULL, Store(tmp_path)).items()}
    of_one = {label: arm.learning_rates[0] for label, arm in FULL.arms.items() if len(arm.learning_rates or ()) == 1}
    assert of_one and {label: rates[label] for label in of_one} == of_one
    for fast in of_one:  # as the claims say: three times the rate
        assert rates[fast] == pytest.approx(3 * rates["ft augmented"])


def test_every_arm_was_tried_on_every_dataset_it_is_for():
    runs = pd.read_csv(RESULTS / "development" / "05_compare" / "runs.csv")
    due = {(world, arm) for world in FULL.world_names for arm in FULL.arms_in(world)}
    assert due == set(zip(runs["world"], runs["arm"], strict=True)) and set(runs["status"]) == {"finished"}


def test_no_chosen_rate_is_at_the_edge_of_its_grid(table):
    for (arm, splitting), part in table.groupby(["arm", "splitting"]):
        rates = part["learning rate"]
        if len(rates) > 1:
            taken = part.loc[part["chosen"].astype(bool), "learning rate"].item()
            assert rates.min() < taken < rates.max(), (arm, splitting)


def test_the_two_studies_differ_in_seeds_alone():
    assert (
        FULL.arms == DEVELOPMENT.arms and FULL.worlds == DEVELOPMENT.worlds and FULL.questions == DEVELOPMENT.questions
    )
    seeds = {*FULL.seeds}, {*DEVELOPMENT.seeds, *DEVELOPMENT.finetuning.selection_seeds}
    assert not seeds[0] & seeds[1]


def test_the_rate_of_the_real_model_states_its_facts_on_the_development_seed():
    params = load_params(PARAMS / "qwen.yaml")
    folder = RESULTS / "development" / "qwen"
    runs, accuracy = (
        table[table["model"] == params.model.name]
        for table in (pd.read_csv(folder / f"{file}.csv") for file in ("runs", "accuracy"))
    )
    assert not set(runs["seed"]) & set(params.seeds) and {"ft", "ft local"} <= set(runs["arm"])
    for arm, part in runs[runs["learning rate"].notna()].groupby("arm"):
        assert set(part["learning rate"]) == {params.finetuning.chosen[arm].rate}
        stated = accuracy[(accuracy["arm"] == arm) & (accuracy["split"] == "as stated")]["value"]
        assert stated.min() >= 0.95, arm
