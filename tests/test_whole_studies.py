"""`make reproduce` of params/gpu.yaml, with all its notebooks, on a model of each family as a user would bring it.

It takes an hour: `make test MARKER=whole`.
"""

import os
from pathlib import Path

import nbformat
import pytest
import yaml
from transformers import PreTrainedTokenizerFast

from conftest import FAMILIES, build_family, english_tokenizer
from study import cli
from study.params import load_params
from study.paths import NOTEBOOKS, PARAMS
from study.runs.run import FINISHED
from study.runs.runner import evaluation_runs_of
from study.runs.store import Store
from test_berglund import folder as berglund_folder  # noqa: F401 (a fixture)

pytestmark = pytest.mark.whole

ROOM = 4096  # positions: a byte-level tokenizer cuts nonsense words into letters
CHAT = (
    "{% for message in messages %}<s>{{ message['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>{% endif %}"
)
SMALL = {
    "seeds": [0],
    "worlds": {
        "reversals": {"size": 6, "features": 1},
        "syllogisms": {"size": 3},
        "reversal_curse": {"size": 4},
        "semantic": {"size": 9, "fewest_sentences": 2, "most_sentences": 3},
        "family": {"size": 1},
        "process": {"size": 6, "operators": 2, "examples": 4, "asked": 4},
    },
    "questions": {"per_split": 4, "options": 4},
}


def bring(folder: Path, family: str, tokenizer: PreTrainedTokenizerFast, chats: bool) -> None:
    """A tiny random model with a tokenizer, written by save_pretrained."""
    room = {key: ROOM for key in ("max_position_embeddings", "n_positions") if key in FAMILIES[family][1]}
    build_family(family, len(tokenizer), **room).save_pretrained(folder)
    tokenizer.chat_template = CHAT if chats else None
    tokenizer.save_pretrained(folder)


def settings_of(study: str, model: Path) -> dict:
    """A study for a GPU, made small."""
    settings = load_params(PARAMS / f"{study}.yaml").plain() | SMALL
    settings["model"] |= {"name": str(model), "device": "cpu"}
    settings["finetuning"] |= {
        "learning_rates": [1e-3],
        "lora_rank": 2,
        "epochs": 1,
        "fewest_steps": 2,
        "checkpoint_evals": 1,
    }
    settings["finetuning"] |= {"step_tokens": 512, "selection_seeds": [1000]}
    settings["augmentation"] |= {"local_tokens": 8, "global_tokens": 8, "samples": 1, "batch_size": 4}
    return settings


def reproduce(place: Path, settings: dict, monkeypatch) -> None:
    """As `make reproduce STUDY=study` does with a params file of these settings."""
    (place / "study.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.setattr(cli, "PARAMS", place)
    monkeypatch.setattr(cli, "RESULTS", place / "results")
    assert cli.main(["reproduce", "--study", "study"]) == 0


def check(place: Path, capsys) -> None:
    """Every trial is finished, every notebook executed and up to date, no output holds an error."""
    params, store = load_params(place / "study.yaml"), Store(place / "results" / "study" / "runs")
    trials = evaluation_runs_of(params, store)
    assert {store.record(trial.key)["status"] for trial in trials} == {FINISHED}
    pages = sorted((place / "results" / "study").glob("*.ipynb"))
    assert [page.stem for page in pages] == [n.stem for n in sorted(NOTEBOOKS.glob("0[1-6]_*.ipynb"))]
    for page in pages:
        cells = nbformat.read(page, as_version=4).cells
        assert all(cell.execution_count for cell in cells if cell.cell_type == "code")
    capsys.readouterr()
    assert cli.main(["reproduce", "--study", "study"]) == 0
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_study_for_gpus_is_reproduced_on_every_family(family, tmp_path, monkeypatch, capsys):
    chats = list(FAMILIES).index(family) % 2 == 1
    bring(tmp_path / "model", family, english_tokenizer(), chats)
    reproduce(tmp_path, settings_of("gpu", tmp_path / "model"), monkeypatch)
    check(tmp_path, capsys)


def test_the_reversal_curse_is_reproduced_on_its_own_files(berglund_folder, tmp_path, monkeypatch, capsys):  # noqa: F811
    folder = os.environ.get("REVERSAL_CURSE", str(berglund_folder))
    bring(tmp_path / "model", "qwen3", english_tokenizer(), True)
    settings = settings_of("berglund", tmp_path / "model")
    settings["worlds"] = {"berglund": {"folder": folder, "people": 6, "copies": 2}}
    settings["finetuning"]["selection_worlds"] = ["berglund"]
    reproduce(tmp_path, settings, monkeypatch)
    check(tmp_path, capsys)
