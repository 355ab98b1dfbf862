"""The pretraining corpus: fresh worlds written as "facts so: inferences", in the study's own prompts.

Only the inferences carry loss: the facts are noise that no model can predict. A chain is written alone, or in steps:
with the stated facts it rests on before it or after it.
"""

import functools
import math
import random
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from study.base_model.recipe import Stage
from study.data.questions import Document, make_documents, stated_in
from study.datasets import WORLDS
from study.lm.prompts import OF_BUNDLED
from study.worlds.logic import Fact
from study.worlds.words import Lexicon
from study.worlds.world import Split, Statement, World


class Text(NamedTuple):
    """A pretraining document.

    Attributes:
        prompt: carries no loss.
        continuation: carries loss, is ended by </s> if complete.
        answers: where in the continuation, in characters, what can be inferred stands: what a sentence says of the
            entities that it was free to speak of.
    """

    prompt: str
    continuation: str
    answers: tuple[tuple[int, int], ...]


ANSWER = "|"  # marks the beginning of an answer in a text that is being written; it ends with the sentence


def _text(prompt: str, marked: str) -> Text:
    answers = enumerate(re.finditer(rf"[{ANSWER}][^.]*[.]", marked))
    places = tuple((answer.start() - k, answer.end() - k - 1) for k, answer in answers)  # without the marks
    return Text(prompt, marked.replace(ANSWER, ""), places)


class Inferences(NamedTuple):
    """What follows from one stated fact, by the split of the questions it answers."""

    by_split: defaultdict[Split, list[Statement]]

    @property
    def reversals(self) -> list[Statement]:
        """The fact reversed."""
        return self.by_split[Split.REVERSAL]

    @property
    def restatements(self) -> list[Statement]:
        """The fact in its own direction."""
        return self.by_split[Split.STATED] + self.by_split[Split.REPHRASED]

    @property
    def chains(self) -> list[Statement]:
        """What it gives together with others."""
        return [form for split, forms in self.by_split.items() if split not in ALONE for form in forms]


ALONE = (Split.REVERSAL, Split.STATED, Split.REPHRASED)


def inferences_by_fact(world: World, documents: Sequence[Document], wordings: int) -> dict[Fact, Inferences]:
    """For each stated fact what follows from it, in the first `wordings` wordings of either order."""
    stated = stated_in(world, documents)
    found = {fact: Inferences(defaultdict(list)) for fact in world.facts}
    for fact, derivation in world.closure.items():
        count = {True: 0, False: 0}
        for form in world.forms(fact) if derivation.supports else ():
            order = world.template(form).subject_first
            count[order] += 1
            split = world.split_of(form, stated) if count[order] <= wordings else None
            if split:
                for support in derivation.supports:
                    found[support].by_split[split].append(form)
    return found


@functools.cache
def sentence_tokens(name: str, wordings: int, lead_ins: float) -> float:
    """About how many tokens of the bundled model a sentence of a world has; to size a world to the room in a row."""
    counts = []
    for forms in WORLDS[name].WORDING.values():
        for order in (True, False):
            texts = [form.text for form in forms if form.subject_first is order][:wordings]
            # Two slots of two tokens each; what ends a word is a token of its own.
            counts += [len(re.findall(r"[\w-]+|[.,?]", re.sub(r"{.}", "", text))) + 4 for text in texts]
    return sum(counts) / len(counts) + 4 * lead_ins


def most_facts(stage: Stage, name: str, sentences: float, room_tokens: int) -> int:
    """About how many facts of a world, with so many sentences to each, a stage has room for."""
    sentence = sentence_tokens(name, stage.wordings, stage.lead_ins)
    return max(2, min(stage.facts, int((room_tokens - 3) / (sentence * sentences))))


def small_world(rng: random.Random, name: str, lexicon: Lexicon, facts: int, one_relation: bool) -> World:
    """A world of about `facts` facts; with `one_relation` nothing but its entities tells its facts apart."""
    module: Any = WORLDS[name]
    world: World = module.build(rng, lexicon, module.Params.of_facts(rng, facts, one_relation))
    return world


def words_of(*entities: str) -> set[str]:
    """The words that some entities consist of."""
    return set(" ".join(entities).split())


def steps_to(world: World, rng: random.Random, conclusion: Statement, wordings: int) -> list[Statement]:
    """The stated facts a conclusion rests on, from the entity it begins with to the one it ends with.

    Each is worded so that it begins with what is known by then, and ends with what is new.
    """
    fact, answer = conclusion.fact, world.answer(conclusion)
    known = words_of(fact.subject if answer == fact.object else fact.object)
    left, steps = sorted(world.closure[fact].supports), []
    while left:
        step = next((f for f in left if known & words_of(f.subject, f.object)), left[0])
        left.remove(step)
        forward = bool(known & words_of(step.subject)) or not known & words_of(step.object)
        forms = [form for form in world.forms(step) if world.template(form).subject_first is forward]
        stating = [form for form in forms if not world.template(form).is_question][:wordings]
        steps.append(rng.choice(stating or world.forms(step)[:1]))
        known |= words_of(step.subject, step.object)
    return steps


def write_text(rng: random.Random, stage: Stage, lexicon: Lexicon, room_tokens: int) -> Text:
    """One text of a stage, sized to the room left in its row."""
    task = rng.choices(("review", "local", "global"), weights=(stage.review, stage.local, stage.global_))[0]
    name = rng.choice(stage.worlds)
    lexicon = lexicon._replace(openings=stage.openings)
    per_fact = rng.randint(1, min(2, stage.wordings))
    least, most = stage.rounds
    rounds = rng.uniform(least, most) if least < most else least
    room = most_facts(stage, name, per_fact + rounds, room_tokens)
    # As many short texts as long ones: what is learned in a few facts is kept while it is learned in many.
    facts = stage.local_facts if task == "local" else round(2 * (room / 2) ** rng.random())
    world = small_world(rng, name, lexicon, facts, rng.random() < stage.one_relation)
    documents = make_documents(world, rng, per_fact, stage.lead_ins, stage.wordings)
    inferences = inferences_by_fact(world, documents, stage.wordings)
    texts = [document.text for document in documents]
    if task != "local" and rng.random() < stage.irrelevant:
        # Of another world that shares no word with this one; none if the draw had one in common.
        other = small_world(rng, rng.choice(stage.worlds), lexicon, max(2, facts // 2), one_relation=False)
        if not words_of(*world.entities) & words_of(*other.entities):
            texts += [document.text for document in make_documents(other, rng, 1, stage.lead_ins, stage.wordings)]

    def told(statement: Statement) -> str:
        """A statement; as the answer to a question for its terms, where the world asks so."""
        if world.alternatives(statement) and statement.template == 0 and rng.random() < 0.7:
            return f"{world.asking(statement)} {ANSWER}{world.render(statement)}"
        return marked(statement)

    def marked(statement: Statement) -> str:
        return f"{world.query(statement)} {ANSWER}{world.answer(statement)}."

    def chain(conclusion: Statement) -> str:
        """A conclusion, alone or in steps."""
        if rng.random() >= stage.steps:
            return told(conclusion)
        steps = " ".join(marked(step) for step in steps_to(world, rng, conclusion, stage.wordings))
        whole = [steps, told(conclusion)]
        return " ".join(whole if rng.random() < 0.8 else whole[::-1])

    def written(chosen: Sequence[Statement]) -> str:
        return " ".join(told(statement) for statement in rng.sample(chosen, len(chosen)))

    def some(things: Sequence[Any], count: int) -> list[Any]:
        return rng.sample(things, min(count, len(things)))

    if task == "review":
        chosen: list[str] = []
        said: set[tuple[Fact, Split | None]] = set()

        def new(statements: Sequence[Statement], split: Split | None = None) -> list[Statement]:
            """One of the statements whose fact this text has not inferred yet: to say it again takes no inference."""
            found = some([statement for statement in statements if (statement.fact, split) not in said], 1)
            said.update((statement.fact, split) for statement in found)
            return found

        whole, part = divmod(rounds, 1)
        for fact in [*world.facts * int(whole), *some(world.facts, math.ceil(part * len(world.facts)))]:
            reversals, chains = inferences[fact].reversals, inferences[fact].chains
            if rng.random() < stage.reverse:
                if chains and (not reversals or rng.random() < stage.chains):
                    chosen += map(chain, new(chains))
                else:
                    chosen += map(told, new(reversals))
            if rng.random() < stage.restate:
                chosen += map(told, new(inferences[fact].restatements, Split.STATED))
        return _text(OF_BUNDLED.in_context(rng.sample(texts, len(texts))), " ".join(rng.sample(chosen, len(chosen))))

    target = documents[0]
    if task == "local":
        statement, stating = rng.choice(list(zip(target.statements, target.stating, strict=True)))
        alone = inferences[statement.fact]
        restatements = [other for other in alone.restatements if other != statement]
        return _text(OF_BUNDLED.from_one(stating), written(alone.reversals + restatements))
    # Global: what the target gives alone, then what it gives together with other facts.
    alone_by_one = [
        form for fact in target.facts for form in some(inferences[fact].reversals or inferences[fact].restatements, 2)
    ]
    chains = list(dict.fromkeys(form for fact in target.facts for form in inferences[fact].chains))
    prompt = OF_BUNDLED.from_all(rng.sample(texts, len(texts)), target.text)
    return _text(prompt, " ".join([written(some(alone_by_one, 4)), *map(chain, some(chains, 8))]).strip())
