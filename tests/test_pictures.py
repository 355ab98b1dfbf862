import random

import matplotlib.pyplot as plt
import pytest

from study.datasets import WORLDS
from study.figures import pictures
from study.worlds import family, semantic
from study.worlds.words import STUDY


@pytest.fixture(autouse=True)
def no_window():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def texts(figure) -> set[str]:
    return {text.get_text() for axis in figure.axes for text in axis.texts}


def test_a_node_stands_above_the_middle_of_those_below_it_and_no_two_at_one_place():
    place = pictures.tree_layout({"a": ["b", "c"], "c": ["d", "e", "f"]}, ["a", "g"])
    assert place["c"][0] == pytest.approx((place["d"][0] + place["f"][0]) / 2)
    assert place["a"][0] == pytest.approx((place["b"][0] + place["c"][0]) / 2)
    assert [place[node][1] for node in "abdg"] == [0, -1, -2, 0]
    assert len(set(place.values())) == 7


@pytest.mark.parametrize(
    "params", [family.Params(), family.Params(facts="params/facts/family_of_27.csv", rename=False)]
)
def test_everybody_of_a_family_is_drawn_once_at_a_place_of_their_own(params):
    world = family.build(random.Random(0), STUDY, params)
    figure = pictures.family_tree(world, 0)
    assert texts(figure) == set(world.family)
    places = [text.get_position() for text in figure.axes[0].texts]
    assert len(set(places)) == len(world.family)


def test_every_kind_is_drawn_with_what_is_stated_of_it():
    world = semantic.build(random.Random(0), STUDY, WORLDS["semantic"].Params())
    drawn = texts(pictures.hierarchy(world))
    assert {kind for kind, what in world.classes.items() if what == "kind"} <= drawn
    stated = " ".join(drawn)
    assert all(f"{f.relation} {f.object}" in stated for f in world.facts if f.relation != "is a")
