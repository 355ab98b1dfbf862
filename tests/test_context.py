import random

import pytest

from study.data.context import fitting
from study.data.questions import Document, make_documents
from study.worlds import DRAWN
from study.worlds.words import STUDY


@pytest.fixture
def documents():
    module = DRAWN["reversals"]
    world = module.build(random.Random(0), STUDY, module.Params(size=6, features=1))
    return make_documents(world, random.Random(0), 3)


def words(some):
    return sum(len(document.text.split()) for document in some)


def test_all_documents_stay_as_they_are_where_there_is_room(documents):
    assert fitting(documents, words, None, "s") == fitting(documents, words, words(documents), "s") == tuple(documents)


def test_as_many_whole_documents_stay_as_fit_in_their_own_order(documents):
    for limit in range(12, words(documents), 17):
        kept = fitting(documents, words, limit, "s")
        assert words(kept) <= limit
        assert [documents.index(document) for document in kept] == sorted(documents.index(d) for d in kept)
        longest = max(words([document]) for document in documents)
        assert words(kept) + longest > limit - longest  # about one more would be too many


def test_a_smaller_limit_keeps_a_part_of_what_a_larger_one_keeps(documents):
    small, large = (set(fitting(documents, words, limit, "s")) for limit in (30, 90))
    assert small < large


def test_one_document_about_each_fact_stays_before_a_second_about_any(documents):
    half = fitting(documents, len, 6, "s")
    assert len({document.facts for document in half}) == 6


def test_it_is_said_when_not_even_one_fits(documents):
    with pytest.raises(ValueError, match=r"not one of 18 documents fits into 3 tokens .*context_tokens"):
        fitting(documents, words, 3, "s")


def test_a_document_that_is_too_long_costs_itself_alone(documents):
    long = Document((), ("word " * 500,))
    for place in (0, 3, len(documents)):
        among = [*documents[:place], long, *documents[place:]]
        assert fitting(among, words, words(documents), "s") == tuple(documents)
