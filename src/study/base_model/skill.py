"""What a model can infer in context, on words it has never seen: one row for each question."""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from study.base_model.corpus import ALONE, inferences_by_fact, most_facts, small_world
from study.base_model.recipe import Stage
from study.data.questions import Document, Question, make_documents, make_questions, questions_of_split
from study.lm.prompts import OF_BUNDLED
from study.lm.scoring import score_options
from study.worlds.words import VALIDATION
from study.worlds.world import Split, Statement, World


def answered(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    world: World,
    documents: Sequence[Document],
    questions: Sequence[Question],
) -> list[dict[str, Any]]:
    """A row for each question, each asked alone behind the documents: whether the answer was right, and how sure.

    Raises:
        ValueError: if documents and question exceed the model's positions.
    """
    context = OF_BUNDLED.in_context([document.text for document in documents])
    scores = score_options(model, tokenizer, context, [(q.query, q.options) for q in questions])
    rows = []
    for question, score in zip(questions, scores, strict=True):
        log_probs = np.array(score.log_probs)
        best = int(log_probs.argmax())
        rows.append(
            {
                "world": world.name,
                "split": str(question.split),
                "cluster": question.cluster,
                "correct": best in question.answers,
                "chance": question.chance,
                # Among the options: how much of their likelihood the chosen one has.
                "confidence": float(1 / np.exp(log_probs - log_probs[best]).sum()),
            }
        )
    return rows


def stage_skill(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, stage: Stage, worlds: int, asked: int = 4
) -> dict[str, float]:
    """In-context accuracy on fresh worlds of held-out words, by "world/split", in the wordings of a stage.

    A question asked after others could be answered by elimination; here only a look-up helps. It has eight options,
    or as many as there are facts if they are fewer. What follows from one fact is asked where all facts have one
    relation, so that nothing but the entity gives the answer, if the stage has such worlds; chains where they differ.
    """
    rows = []
    copies, positions = min(2, stage.wordings), model.config.max_position_embeddings
    for name in dict.fromkeys(stage.worlds):
        # Half of the room is left to the questions, and to worlds that are longer than their sentences' mean tells.
        facts = most_facts(stage, name, 2 * copies, positions)
        for k in range(worlds):
            for one_relation in (True, False) if stage.one_relation else (False,):
                rng = random.Random(f"skill/{name}/{k}")
                lexicon = VALIDATION._replace(openings=stage.openings)
                world = small_world(rng, name, lexicon, facts, one_relation)
                documents = make_documents(world, rng, copies, stage.lead_ins, stage.wordings)
                questions = [
                    question
                    for question in _questions_of_stage(world, documents, rng, stage, asked, f"skill/{k}")
                    if not stage.one_relation or (question.split in ALONE) is one_relation
                ]
                rows += answered(model, tokenizer, world, documents, questions)
    table = pd.DataFrame(rows)
    skill: dict[str, float] = table.groupby(table["world"] + "/" + table["split"])["correct"].mean().to_dict()
    return skill


def _questions_of_stage(
    world: World, documents: Sequence[Document], rng: random.Random, stage: Stage, asked: int, seed: str
) -> Iterator[Question]:
    pools: defaultdict[Split, set[Statement]] = defaultdict(set)
    for inferences in inferences_by_fact(world, documents, stage.wordings).values():
        for split, statements in inferences.by_split.items():
            pools[split].update(statements)
    for split, pool in sorted(pools.items()):
        some = rng.sample(sorted(pool), min(asked, len(pool)))
        yield from questions_of_split(world, some, split, min(8, stage.facts), seed)


def skill_rows(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    worlds: Iterable[str],
    facts: int,
    instances: int,
    per_split: int,
    copies: int = 2,
) -> pd.DataFrame:
    """Questions as the study asks them, in held-out wordings with eight options, on fresh worlds of held-out words.

    Each of `worlds` is drawn `instances` times with about so many `facts`, `copies` documents about each of them, and
    at most `per_split` questions of each split.
    """
    rows: list[dict[str, Any]] = []
    for name in worlds:
        for k in range(instances):
            rng = random.Random(f"report/{name}/{facts}/{k}")
            world = small_world(rng, name, VALIDATION, facts, one_relation=False)
            documents = make_documents(world, rng, copies, lead_ins=0.2)
            questions = make_questions(world, documents, f"report/{k}", options=8, per_split=per_split)
            for row in answered(model, tokenizer, world, documents, questions):
                rows.append({**row, "facts": facts, "seed": k})
    return pd.DataFrame(rows)
