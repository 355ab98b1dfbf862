"""What the published study takes as given was chosen on development seeds, by the tables that are published."""

import pandas as pd
import pytest

from study.params import load_params
from study.paths import PARAMS, RESULTS

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
