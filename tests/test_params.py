from pathlib import Path

import pytest

from study.arms import ARMS
from study.base_model.recipe import RECIPES, Pretraining, load_recipe
from study.config import ParamsError, read_yaml
from study.pages.terminal import show_cautions
from study.params import Params, load_params
from study.paths import PARAMS
from study.worlds import DRAWN


@pytest.mark.parametrize("path", sorted(PARAMS.glob("*.yaml")), ids=lambda p: p.name)
def test_every_params_file_is_valid(path):
    assert load_params(path).plain()


@pytest.mark.parametrize("study", ["qwen", "qwen_small"])
def test_the_comparison_of_model_sizes_trains_a_model_as_its_own_study_does(study):
    own = load_params(PARAMS / f"{study}.yaml")
    sized = load_params(PARAMS / "sizes.yaml").other_models
    [same] = [
        params for params in sized if params.model == own.model and params.worlds.reversals == own.worlds.reversals
    ]
    assert same.finetuning.chosen.items() <= own.finetuning.chosen.items()
    rates = {"chosen": same.finetuning.chosen, "learning_rates": same.finetuning.learning_rates}  # none is searched for
    alike = {"finetuning": own.finetuning.model_copy(update=rates)}
    for field in ("finetuning", "augmentation", "questions", "prompts", "statistics"):
        assert getattr(same, field) == alike.get(field, getattr(own, field)), field
    assert all(arm == own.arms[label].model_copy(update={"worlds": arm.worlds}) for label, arm in same.arms.items())


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda p: p.name)
def test_every_recipe_is_valid(path):
    assert load_recipe(path).plain()


STAGE = {"facts": 3, "row_tokens": 64, "most_tokens": 1000}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"stages": [{**STAGE, "row_tokens": 8192, "batch_tokens": 8192}]},
            r"stages.0.row_tokens = 8192: more than architecture.positions = 4096; use shorter rows",
        ),
        ({"stages": [{**STAGE, "batch_tokens": 64, "row_tokens": 128}]}, r"batch_tokens = 64: less than a row of 128"),
        ({"stages": [STAGE, {**STAGE, "layers": 2}]}, r"stages.1.layers = 2: a model cannot shrink; use 4 or more"),
        ({"stages": [STAGE], "race": {"stages": 2}}, r"race.stages = 2: there are 1 stages; race fewer"),
        ({"stages": [STAGE], "architecture": {"width": 100}}, r"head_width = 32: does not divide width = 100"),
        (
            {"stages": [STAGE], "architecture": {"width": 9, "head_width": 9}},
            r"head_width = 9: rotary positions need pairs; use an even number",
        ),
    ],
)
def test_a_recipe_that_cannot_be_cooked_says_why(values, message):
    with pytest.raises(ParamsError, match=message):
        Pretraining.parse(values, "recipe.yaml")


def test_a_recipe_can_extend_another(tmp_path):
    (tmp_path / "one.yaml").write_text("seed: 1\nwarmup_steps: 7\nstages: [{facts: 3, row_tokens: 64, most_tokens: 9}]")
    (tmp_path / "two.yaml").write_text("extends: one\nseed: 2")
    recipe = load_recipe(tmp_path / "two.yaml")
    assert (recipe.seed, recipe.warmup_steps) == (2, 7)
    (tmp_path / "three.yaml").write_text("extends: none")
    with pytest.raises(ParamsError, match=r"none.yaml: no such params file"):
        load_recipe(tmp_path / "three.yaml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"finetunning": {}},
            r"finetunning = \{\}: no such setting; allowed here: arms, augmentation, claims",
        ),
        ({"finetuning": {"lr": 1}}, r"finetuning.lr = 1: no such setting; allowed here: .*learning_rates"),
        ({"finetuning": {"learning_rates": ["1e-3"]}}, r"finetuning.learning_rates.0 = '1e-3': .*valid number"),
        ({"finetuning": {"learning_rates": [1e-3, 7]}}, r"learning_rates: 7.0 does not lie between 0 and 1"),
        ({"finetuning": {"learning_rates": [1e-3, 1e-3]}}, r"learning_rates: 0.001 is given twice"),
        ({"finetuning": {"selection_seeds": [102, 9]}}, r"selection_seeds = \[102, 9\]: \[102\] also in seeds"),
        ({"finetuning": {"epochs": 1.5}}, r"finetuning.epochs = 1.5: .*valid integer"),
        ({"finetuning": {"epochs": True}}, r"finetuning.epochs = True"),
        ({"finetuning": {"method": "adapter"}}, r"finetuning.method = 'adapter': .*'full' or 'lora'"),
        (
            {"worlds": {"reversals": {"sizes": 3}}},
            r"worlds.reversals.sizes = 3: no such setting; .*copies, features, lead_ins",
        ),
        ({"worlds": {"reversal": {}}}, r"worlds.reversal = \{\}: no such setting; allowed here: .*family.*reversals"),
        ({"worlds": {}}, r"worlds: none is named"),
        (
            {"worlds": {"reversals": {"size": 4}}},
            r"options = 8: worlds.reversals has only 4 entities to choose",
        ),
        (
            {"worlds": {"family": {"size": 90}}},
            r"worlds.family: these settings take 1980 entities, .* has 582",
        ),
        (
            {"worlds": {"family": "huge"}},
            r"worlds.family = 'huge': no such preset; use 'bundled' or 'source'",
        ),
        ({"worlds": {"reversals": {"features": 29}}}, r"worlds.reversals.*features = 29: this world has 28"),
        ({"worlds": {"semantic": {"size": 8}}}, r"worlds.semantic.*tops = 3: each needs three kinds"),
        (
            {"arms": {"x": {"train": ["documents"], "splitting": "words"}}},
            r"arms.x.splitting = 'words': .*'whole', 'sentences'",
        ),
        ({"seeds": [1, 1]}, r"seeds = \[1, 1\]: a seed is given twice"),
        ({"arms": {"x": {"trian": []}}}, r"arms.x.trian = \[\]: no such setting; allowed here: as_long_as, context"),
        ({"arms": {"x": {"train": ["docs"]}}}, r"arms.x.train.0 = 'docs': .*'documents', 'rephrased', 'local'"),
        ({"arms": {"x": {"train": ["local"]}}}, r"arms.x = .*must train on documents"),
        ({"arms": {"x": {"train": ["documents", "irrelevant"]}}}, r"arms.x.train.1 = 'irrelevant': .*'documents'"),
        ({"arms": {"x": {"context": "local"}}}, r"arms.x.context = 'local': .*'documents', 'irrelevant'"),
        ({"arms": {"x": {"shots": 2}}}, r"arms.x.*shots needs documents in context"),
        ({"arms": {"x": {"context": "retrieved"}}}, r"arms.x.*retrieved documents need a number; give shots"),
        ({"arms": {"x": {"context": "false", "retention": True}}}, r"arms.x.*retention needs documents in context"),
        ({"arms": {"x": {"train": ["documents"], "replay": 0.1}}}, r"arms.x.*replay is the share of the source replay"),
        (
            {"arms": {"x": {"train": ["documents"], "rate_of": "y", "learning_rates": [1e-3]}}},
            r"arms.x.*both say what the learning rate is",
        ),
        (
            {"arms": {"x": {"train": ["documents"], "rate_of": "y"}, "z": {"train": ["documents"]}}},
            r"arms.x.rate_of = 'y': name an arm that has a rate of its own: z",
        ),
        ({"arms": ["icl", "ft nothing"]}, r"arms = 'ft nothing': no arm of the table; there are: base, irrelevant"),
        (
            {"arms": {"x": {"splitting": "whole"}}},
            r"arms.x.*method, splitting, as_long_as, reseed, keep, .* are for arms that train",
        ),
        ({"arms": {"x": {"worlds": ["family", "moon"]}}}, r"arms.x.worlds: no world \['moon'\]; there are: .*family"),
        (
            {"arms": {"x": {"train": ["documents"], "as_long_as": "y"}, "z": {"train": ["documents"]}}},
            r"arms.x.as_long_as = 'y': name an arm that trains for as long as its own texts take: z",
        ),
        ({"arms": {"x": {"curve": True}}}, r"arms.x.*a curve is that of a training; give train, or leave curve out"),
        (
            {"model_sizes": {"models": [{"name": "bundled"}], "arms": ["icl", "lora"]}},
            r"model_sizes.arms: no arm \['lora'\]; there are: base, irrelevant",
        ),
        (
            {"model_sizes": {"sizes": [1]}, "worlds": {"reversals": {"size": 16}}},
            r"model_sizes.sizes = 1, worlds.reversals: .*\n +size = 1: .* greater than or equal to 2",
        ),
        (
            {"model_sizes": {"sizes": [200]}, "worlds": {"syllogisms": {"size": 8}}},
            r"model_sizes.sizes = 200, worlds.syllogisms: .*\n +size = 200: .* less than or equal to 194",
        ),
        (
            {"model_sizes": {"sizes": [8]}, "worlds": {"berglund": {"people": 4}}},
            r"model_sizes.sizes = 8: worlds.berglund has no size; leave one of them out",
        ),
        ({"model": {"name": "owner/name", "revision": "main"}}, r"revision 'main' of 'owner/name' is no 40-hex commit"),
        ({"model": {"revision": "a" * 40}}, r"revision .* is for hub models only"),
    ],
)
def test_what_cannot_be_run_is_refused_by_field_value_and_remedy(values, message):
    with pytest.raises(ParamsError, match=message):
        Params.parse(values, "mine.yaml")


def test_every_bad_field_is_named_at_once():
    with pytest.raises(ParamsError, match=r"(?s)questions.options = 1.*finetuning.epochs = 0"):
        Params.parse({"finetuning": {"epochs": 0}, "questions": {"options": 1}}, "mine.yaml")


def test_numbers_with_exponents_are_numbers(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("finetuning: {learning_rates: [1e-5]}\n")
    assert load_params(path).finetuning.learning_rates == (1e-5,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [0]\nseeds: [1]\n", r"'seeds'.* given twice"),
        ("seeds: [0\n", "not valid YAML"),
        ("- 1\n", "must hold a mapping"),
    ],
)
def test_a_broken_file_is_refused_by_its_path(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ParamsError, match=message) as error:
        read_yaml(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_refused():
    with pytest.raises(ParamsError, match="no such params file"):
        load_params(Path("nowhere.yaml"))


def test_worlds_are_named_by_preset_or_by_settings():
    params = Params.parse({"worlds": {"reversals": "source", "family": {"size": 2}}}, "x")
    assert params.shape("reversals").size == 100 and params.shape("family").size == 2
    assert params.world_names == ("reversals", "family")


def test_both_presets_of_every_world_fit_the_word_space():
    for name, module in DRAWN.items():
        for preset in ("bundled", "source"):
            assert Params.parse({"worlds": {name: preset}}, "x").shape(name) == module.PRESETS[preset]


def test_params_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        Params.parse({}, "x").seeds = (1,)


def test_resolved_params_read_back_the_same():
    params = Params.parse({"seeds": [4]}, "x")
    assert Params.parse(params.plain(), "x") == params


def test_a_list_in_place_of_a_mapping_is_shown_as_one():
    with pytest.raises(
        ParamsError, match=r"worlds = \['family', 'roles'\]: must be a mapping .*{family: {}, roles: {}}"
    ):
        Params.parse({"worlds": ["family", "roles"]}, "mine.yaml")


def test_a_model_of_its_own_trained_at_the_bundled_model_s_rates_is_cautioned(capsys):
    model = {"name": "owner/tiny"}
    show_cautions(Params.parse({"model": model}, "mine.yaml"))
    caution = capsys.readouterr().out
    assert "are those of the bundled model" in caution and "for owner/tiny, trained whole in 'ft'" in caution
    own = {"learning_rates": [1e-5]}
    for settings in ({}, {"model": model, "finetuning": own}, {"model": model, "finetuning": {"method": "lora"}}):
        show_cautions(Params.parse(settings, "mine.yaml"))
        assert not capsys.readouterr().out


def test_an_arm_of_the_table_may_differ_in_part():
    params = Params.parse({"arms": ["base", {"ft": {"worlds": ["reversals"]}}]}, "test")
    assert params.arms["ft"].worlds == ("reversals",) and params.arms["ft"].train == ARMS["ft"].train
    for wrong in ({"ft": ["reversals"]}, {"ft": {}, "icl": {}}, {"unknown": {}}, 3):
        with pytest.raises(ParamsError, match="no arm of the table"):
            Params.parse({"arms": [wrong]}, "test")
