import random
import subprocess
import sys

import pytest

from study.worlds.words import ENDINGS, OPENINGS, PRETRAINING, STUDY, VALIDATION, draw_words, lexicon_of


def test_every_drawn_word_belongs_to_its_lexicon():
    for lexicon in (PRETRAINING, VALIDATION, STUDY):
        words = draw_words(random.Random(0), 300, lexicon)
        assert {lexicon_of(word) for word in words} == {lexicon.name}


def test_no_two_words_of_a_draw_share_an_opening():
    words = draw_words(random.Random(0), len(OPENINGS), STUDY)
    assert len({word[:3] for word in words}) == len(OPENINGS)


def test_no_word_can_be_split_in_two_ways():
    words = [opening + ending for opening in OPENINGS for ending in ENDINGS]
    assert len(set(words)) == len(words)


def test_too_many_words_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match="needs 50 words, but only 24 openings.*use fewer entities"):
        draw_words(random.Random(0), 50, STUDY._replace(openings=24))


def test_the_same_seed_gives_the_same_words_in_another_process():
    code = "import random; from study.worlds.words import *; print(draw_words(random.Random(7), 5, STUDY))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == str(draw_words(random.Random(7), 5, STUDY))
