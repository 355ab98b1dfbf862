"""How the bundled model is made: every setting of its pretraining, typed and frozen, apart from those of the study."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from study.config import Strict, read_yaml
from study.paths import PARAMS
from study.worlds import DRAWN
from study.worlds.words import OPENINGS

RECIPES = PARAMS / "base_model"


class Architecture(Strict):
    """Shape of the bundled model, a Qwen3."""

    width: int = Field(256, ge=8)
    head_width: int = Field(32, ge=2)
    positions: int = Field(4096, ge=64)
    look_up_start: bool = Field(True, description="start attention on neighbours and on equal words, not at random")
    rope_theta: float = Field(10_000.0, gt=1, description="base of the rotary positions")

    @model_validator(mode="after")
    def _heads_fit(self) -> Self:
        if self.width % self.head_width:
            raise ValueError(f"head_width = {self.head_width}: does not divide width = {self.width}; use a divisor")
        if self.head_width % 2:
            raise ValueError(f"head_width = {self.head_width}: rotary positions need pairs; use an even number")
        return self


class Stage(Strict):
    """One stage of pretraining: what texts are written, and the skill that ends it."""

    worlds: tuple[Literal[tuple(DRAWN)], ...] = Field(("reversals", "roles"), min_length=1)  # type: ignore[valid-type]
    layers: int = Field(4, ge=1, description="of the model; where there are more than in the stage before, it grows")
    facts: int = Field(ge=2, description="most facts of a text")
    row_tokens: int = Field(ge=24, description="length of a training row")
    batch_tokens: int = Field(2048, ge=64, description="tokens of a step")
    wordings: int = Field(1, ge=1, le=9, description="wordings of either order in use, the held-out ones last")
    lead_ins: float = Field(0.0, ge=0, le=1, description="share of sentences behind a lead-in")
    openings: int = Field(len(OPENINGS), ge=16, le=len(OPENINGS), description="openings of words in use")
    review: float = Field(1.0, ge=0, description="share of texts that infer from all facts")
    local: float = Field(0.0, ge=0, description="share of texts that infer from one statement")
    local_facts: int = Field(2, ge=2, description="facts of the world that the one statement is of")
    global_: float = Field(0.0, ge=0, description="share of texts that infer from one statement and the rest")
    rounds: tuple[float, float] = Field((1.0, 1.0), description="how often a review comes to each fact: least and most")
    reverse: float = Field(1.0, ge=0, le=1, description="chance that a fact is asked backwards or chained")
    restate: float = Field(0.0, ge=0, le=1, description="chance that a fact is restated in its own direction")
    chains: float = Field(0.5, ge=0, le=1, description="share of them that are chained, where a fact has both")
    steps: float = Field(0.0, ge=0, le=1, description="share of chains that are written with the facts they rest on")
    irrelevant: float = Field(0.0, ge=0, le=1, description="share of texts with facts of another world among the rest")
    one_relation: float = Field(0.6, ge=0, le=1, description="share of worlds whose facts differ in entities only")
    rate: float = Field(1.0, gt=0, description="share of the full learning rates")
    lead_weight: float = Field(1.0, ge=0, le=1, description="weight in the loss of tokens that lead to an answer")
    gate: float = Field(0.9, gt=0, le=1, description="mean in-context accuracy, of what it teaches, that ends it")
    check_tokens: int = Field(200_000, ge=1, description="between two measurements of skill")
    most_tokens: int = Field(ge=1, description="tokens after which the stage ends in any case")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        least, most = self.rounds
        if not 0 < least <= most:
            raise ValueError(f"rounds = [{least}, {most}]: use two numbers above 0, the smaller one first")
        if self.batch_tokens < self.row_tokens:
            raise ValueError(
                f"batch_tokens = {self.batch_tokens}: less than a row of {self.row_tokens}; use one row or more"
            )
        return self


class Race(Strict):
    """The first stages are run from several seeds; the one that passes them with the fewest tokens goes on."""

    seeds: int = Field(1, ge=1, description="runs, with consecutive seeds")
    stages: int = Field(0, ge=0, description="stages that are raced")


class Pretraining(Strict):
    """How the bundled model is made."""

    seed: int = Field(0, ge=0, description="of weights and texts")
    start: str | None = Field(None, description="folder of a model that is trained further; none: from scratch")
    architecture: Architecture = Architecture()
    muon_learning_rate: float = Field(0.015, gt=0)
    adamw_learning_rate: float = Field(3e-3, gt=0)
    warmup_steps: int = Field(50, ge=1)
    cooldown_tokens: int = Field(2_000_000, ge=0, description="at the end, with the rate falling to 2 %")
    race: Race = Race()
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        for number, stage in enumerate(self.stages):
            if stage.row_tokens > self.architecture.positions:
                raise ValueError(
                    f"stages.{number}.row_tokens = {stage.row_tokens}: more than architecture.positions = "
                    f"{self.architecture.positions}; use shorter rows or more positions"
                )
            if number and stage.layers < self.stages[number - 1].layers:
                raise ValueError(
                    f"stages.{number}.layers = {stage.layers}: a model cannot shrink; use "
                    f"{self.stages[number - 1].layers} or more"
                )
        if self.race.stages > len(self.stages):
            raise ValueError(f"race.stages = {self.race.stages}: there are {len(self.stages)} stages; race fewer")
        return self


def load_recipe(path: Path) -> Pretraining:
    """Read the recipe of a bundled model: a YAML mapping of differences from the defaults.

    `extends` names another recipe beside it, of which the file gives the differences.

    Raises:
        ParamsError: naming each bad field, its value and what is allowed.
    """
    values = read_yaml(path)
    if "extends" in values:
        other = path.parent / f"{values.pop('extends')}.yaml"
        values = {**read_yaml(other), **values}
    return Pretraining.parse(values, str(path))
