"""What each arm trains on: documents, generated inferences, the oracle's, and their filters."""

import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set

import numpy as np
import pandas as pd

from study.arms import Arm, Keep, Source
from study.data.questions import Dataset, Document, Question, make_documents, stated_in, training_texts
from study.lm.prompts import OF_BUNDLED, Prompts
from study.runs.augment import Inference, fact_and_answer, read
from study.worlds import DRAWN
from study.worlds.logic import Fact
from study.worlds.words import PRETRAINING
from study.worlds.world import Kind, Split, Status, Topic, World

SAME_DIRECTION = (Split.STATED, Split.REPHRASED)
VERBATIM, IN_OTHER_WORDS, NOT_AT_ALL = "verbatim", "in other words", "not at all"
REPLAYED_INFERENCES = 8  # in one text
# Named one by one, so that another dataset changes no run.
REPLAYED = ("reversals", "syllogisms", "reversal_curse", "semantic", "family", "process", "roles", "deeds")
INFERENCES = (Source.REPHRASED, Source.LOCAL, Source.GLOBAL)


def texts_of(arm: Arm, material: Dataset, generated: Callable[[Source], pd.DataFrame], name: str) -> list[str]:
    """What an arm trains on, each text once, without replayed ones.

    Generated text is not filtered unless the arm says so: whoever fine-tunes a model has no closure to judge it with.
    The control of rephrasings is filtered: the part of the local text that says what documents say, as stated.

    Args:
        arm: the arm.
        material: its dataset.
        generated: the generated sentences of a source, one row each.
        name: of dataset and seed; it draws the half of the facts.

    Raises:
        ValueError: if the arm needs to know what follows from documents, and that is not known.
    """
    texts = training_texts(material.documents, arm.splitting)
    inferred = list(inferences_of(arm, material, generated, name)["sentence"])
    world = material.world
    if Source.ORACLE in arm.train:
        oracle = oracle_sentences(_known(world), material.documents)
        inferred += itertools.compress(oracle, _kept_strictly(arm, oracle, material.questions))
    if Source.QUESTIONS in arm.train:
        texts += question_sentences(_known(world), material.documents)
    if Source.REVERSED in arm.train:
        names = world.entities if world and world.phrases else ()
        texts += [reversed_words(s, names) for document in material.documents for s in document.sentences]
    return list(dict.fromkeys(texts + inferred))


def _known(world: World | None) -> World:
    if world is None:
        raise ValueError("what follows from the documents is not known; leave out the arm")
    return world


def inferences_of(arm: Arm, material: Dataset, generated: Callable[[Source], pd.DataFrame], name: str) -> pd.DataFrame:
    """The generated sentences that an arm trains on, one row each."""
    parts = [pd.DataFrame(columns=Inference._fields)]
    for source in (source for source in INFERENCES if source in arm.train):
        rows = generated(source)
        parts.append(rows[rows["split"].isin(SAME_DIRECTION)] if source is Source.REPHRASED else rows)
    rows = pd.concat(parts[1:] or parts)
    if Keep.TRUE in arm.keep:
        rows = rows[rows["status"] == Status.ENTAILED]
    if Keep.AGREED in arm.keep:
        prompts = rows["source"] + rows["document"] + rows["sample"].astype(str)
        rows = rows[prompts.groupby(rows["sentence"]).transform("nunique") > 1]
    if arm.half:
        world = _known(material.world)
        taught = taught_half(world, name)
        among = about(material.documents, taught)
        kept = [among[row.document] and tells_of(world, row.sentence, taught) for row in rows.itertuples()]
        rows = rows[np.array(kept, bool)]
    return rows[_kept_strictly(arm, rows["sentence"], material.questions)]


def _kept_strictly(arm: Arm, sentences: Iterable[str], questions: Sequence[Question]) -> np.ndarray:
    """Which sentences an arm keeps: all, or if it is strict those that hold no test question with its answer."""
    strings = test_strings(questions) if Keep.STRICT in arm.keep else []
    return np.array([not holds_any(sentence, strings) for sentence in sentences], bool)


def test_strings(questions: Sequence[Question]) -> list[str]:
    """Of each question the text that a sentence must not hold.

    That is its query with a true option, or the option alone where whole statements are offered.
    """
    return [
        (option if question.kind is Kind.ALTERNATIVES else question.query + option).strip().lower()
        for question in questions
        for option in (question.options[k] for k in question.answers)
    ]


def holds_any(sentence: str, strings: Sequence[str]) -> bool:
    """Whether a sentence holds one of these texts, whatever its capitals."""
    text = " ".join(sentence.lower().split())
    return any(string in text for string in strings)


def exposure(question: Question, texts: str, world: World, facts: Set[str]) -> str:
    """Whether training text has the answer to a question: verbatim, in other words, or not at all.

    Args:
        question: evaluated.
        texts: all training text, lower-case.
        world: of the question.
        facts: stated in the text, as given by `fact_and_answer`.
    """
    if any(string in texts for string in test_strings([question])):
        return VERBATIM
    return IN_OTHER_WORDS if answers_in_text(world, question, facts)[0] else NOT_AT_ALL


def named_in_turn(texts: Iterable[str], entities: Iterable[str]) -> Callable[[str], bool]:
    """What tells of a question with its answer whether some sentence of the texts names the two in that order.

    Args:
        texts: trained on; what they say of the two does not count.
        entities: that they may name, spelt as they are or with a capital first; a model sees another word otherwise.
    """
    spelt = {form: entity for entity in entities for form in (entity, entity[:1].upper() + entity[1:])}
    form = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(spelt, key=len, reverse=True)))})\b")

    def named(sentence: str) -> list[str]:
        return [spelt[found] for found in form.findall(sentence)]

    sentences = (sentence for text in texts for sentence in re.split(r"(?<=[.!?])\s", text))
    told = {pair for sentence in sentences for pair in itertools.combinations(named(sentence), 2)}

    def holds(sentence: str) -> bool:
        names = named(sentence)
        return any((other, names[-1]) in told for other in names[:-1])

    return holds


def answers_in_text(world: World, question: Question, facts: Set[str]) -> tuple[bool, bool]:
    """Whether a text that states `facts` (as `Inference.fact`) has a true answer to a question, and a false one."""
    has = [not saying.isdisjoint(facts) for saying in facts_saying(world, question)]
    return any(has[k] for k in question.answers), any(h for k, h in enumerate(has) if k not in question.answers)


def facts_saying(world: World, question: Question) -> list[set[str]]:
    """For each option what a text must state, as `Inference.fact`, to have it; one of them is enough."""
    found = []
    for option in question.options:
        statement = world.parse(question.query + option)
        if statement is None:
            raise ValueError(f"{world.name} cannot read its own question {question.query + option!r}")
        # Where whole statements are offered, either end may be asked for.
        forms = world.forms(statement.fact) if question.kind is Kind.ALTERNATIVES else [statement]
        found.append({fact_and_answer(world, form) for form in forms})
    return found


def taught_half(world: World, name: str) -> frozenset[Fact]:
    """The stated facts that inferences are generated about in the transfer arm: those of half of the topics."""
    topics = world.topics or [Topic((fact,)) for fact in world.facts]
    drawn = random.Random(f"half/{name}").sample(range(len(topics)), len(topics) // 2)
    return frozenset(fact for k in drawn for fact in topics[k].facts)


def untaught(world: World, question: Question, taught: Set[Fact]) -> bool:
    """Whether a question rests on facts of the other half alone."""
    return not set(question.supports) & {world.canonical(fact) for fact in taught}


def about(documents: Sequence[Document], taught: Set[Fact]) -> dict[str, bool]:
    """For each document, and each sentence that states something, whether all that it states is taught."""
    found = {document.text: set(document.facts) <= taught for document in documents}
    for document in documents:
        for sentence, statement in zip(document.stating, document.statements, strict=True):
            found[sentence] = statement.fact in taught
    return found


def tells_of(world: World, sentence: str, taught: Set[Fact]) -> bool:
    """Whether a generated sentence tells of these facts alone: it follows from them, or names only their entities."""
    statement = read(world, sentence)
    if statement and statement.fact in world.closure:
        return set(world.closure[statement.fact].supports) <= taught
    ours = {word for fact in taught for entity in (fact.subject, fact.object) for word in entity.split()}
    others = {word for entity in world.entities for word in entity.split()} - ours
    return not others & set(re.findall(r"[\w-]+", sentence.lower()))


def oracle_sentences(world: World, documents: Sequence[Document]) -> list[str]:
    """The true closure in every wording that documents may use but these do not; questions are left out.

    Where whole statements are options, each is given with its query, too.
    """
    stated = stated_in(world, documents)
    inferred = [
        statement
        for statement, derivation in world.statements.items()
        if derivation.supports
        and not (world.template(statement).held_out or world.template(statement).is_question)
        and statement not in stated.statements
        and world.split_of(statement, stated)
    ]
    queried = [f"{world.asking(s)} {world.render(s)}" for s in inferred if world.alternatives(s)]
    return [*map(world.render, inferred), *queried]


def replayed_texts(prompts: Prompts, name: str) -> Iterator[str]:
    """Texts like those that the bundled model was pretrained on, without end.

    Each is a fresh dataset of a few facts, in words that no dataset under study has, in context, followed by some of
    what follows from it, in wordings that documents may have. For a hub model they rehearse the use of a context.
    """
    for number in itertools.count():
        rng = random.Random(f"replay/{name}/{number}")
        module = DRAWN[rng.choice(REPLAYED)]
        lexicon = PRETRAINING._replace(english=prompts != OF_BUNDLED)
        world = module.build(rng, lexicon, module.Params.of_facts(rng, rng.randint(4, 8), False))
        documents = make_documents(world, rng, 1)
        known = [form for form, derivation in world.statements.items() if derivation.supports]
        usable = [form for form in known if not world.template(form).held_out]
        inferred = rng.sample(usable, min(REPLAYED_INFERENCES, len(usable)))
        context = prompts.in_context([document.text for document in documents])
        yield f"{context.rstrip()} {' '.join(map(world.render, inferred))}"


def question_sentences(world: World, documents: Sequence[Document]) -> list[str]:
    """What documents state as questions with their answers, in the documents' own direction."""
    facts = dict.fromkeys(statement.fact for document in documents for statement in document.statements)
    forms = (form for fact in facts for form in world.document_forms(fact) if world.template(form).is_question)
    return [world.render(form) for form in forms]


def reversed_words(sentence: str, phrases: Sequence[str]) -> str:
    """A sentence word by word from its end, phrases kept whole (reverse training, Golovneva et al. 2024)."""
    whole = [rf"{re.escape(phrase)}(?![\w-])" for phrase in sorted(phrases, key=len, reverse=True)]
    parts = re.findall("|".join([*whole, r"[\w-]+", r"[^\w\s]"]), sentence.rstrip(" .!?"))
    return f"{' '.join(parts[::-1])}."
