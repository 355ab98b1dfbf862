import base64
import json
import subprocess
import sys
import warnings
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.layout_engine import ConstrainedLayoutEngine

from study.arms import ARMS, Source
from study.evidence.cost import CACHING, UNCACHED
from study.evidence.headline import headline_table, shares
from study.evidence.stats import accuracy_table, difference_table
from study.figures import captions, comparisons, style
from study.figures import curves as figures
from study.figures.style import arm_look, save, use_style
from study.pages import draw
from study.pages.experiment import Experiment
from study.params import Params
from study.paths import RESULTS, ROOT

ANSWERED = ("base", "icl", "ft", "ft augmented", "hybrid")
PARAMS = Params()


@pytest.fixture(autouse=True)
def no_window():
    plt.switch_backend("Agg")
    yield
    plt.close("all")


def answers(arms=ANSWERED, worlds=("reversals", "family"), splits=("as stated", "reversal")) -> pd.DataFrame:
    """Some right and wrong answers of each arm."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "world": world, "split": split, "arm": arm, "seed": seed, "item_id": str(k), "cluster": f"{seed}/{k // 2}",
            "correct": bool(rng.random() < 0.2 + 0.15 * arms.index(arm)), "chance": 0.25, "retention": False,
        }
        for world in worlds for split in splits for arm in arms for seed in (0, 1) for k in range(8)
    )  # fmt: skip


def costs() -> pd.DataFrame:
    """What each arm costs."""
    lines = []
    for arm in ANSWERED:
        once, context = 100.0 * bool(ARMS[arm].train), 10.0 * bool(ARMS[arm].context)
        line = {"writing": 0.0, "tuning": once, "once": once + context, "query": 1 + context / 10}
        line[UNCACHED] = line["query"] + context
        lines += [{"world": "family", "seed": seed, "arm": arm, **line} for seed in (0, 1)]
    return pd.DataFrame(lines)


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A study with these answers and costs."""
    monkeypatch.setattr(Experiment, "rows", lambda self, arms=None: answers())
    monkeypatch.setattr(draw, "cost_table", lambda experiment, arms=None: costs())
    return Experiment(PARAMS, tmp_path, "05_compare")


def drawn(look) -> np.ndarray:
    """A marker on a piece of line, as somebody sees it who sees no colours."""
    figure = plt.figure(figsize=(0.4, 0.4), dpi=100)
    axis = figure.add_axes((0, 0, 1, 1))
    axis.plot([0.5], [0.5], **look.point(12))
    axis.set(xlim=(0, 1), ylim=(0, 1))
    axis.axis("off")
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3] @ [0.299, 0.587, 0.114]
    plt.close(figure)
    return pixels / 255


def test_no_two_arms_look_alike_even_without_colours():
    looks = {name: arm_look(arm) for name, arm in ARMS.items()}
    pictures = {name: drawn(look) for name, look in looks.items()}
    for one, other in combinations(ARMS, 2):
        assert looks[one][1:3] != looks[other][1:3], (one, other)
        assert np.abs(pictures[one] - pictures[other]).sum() > 10, (one, other)


def test_what_an_arm_trains_on_decides_its_colour_and_its_fill():
    trained = {name: tuple(arm_look(arm))[::2] for name, arm in ARMS.items()}  # colour and fill
    for one, other in combinations(ARMS, 2):
        same = set(ARMS[one].train) - {Source.REPLAY} == set(ARMS[other].train) - {Source.REPLAY}
        oracle = "oracle" in one + other  # full, too, but a star
        assert (trained[one] == trained[other]) == same or oracle
    assert all(arm_look(ARMS[name]).marker == "D" for name in ("icl", "hybrid"))


def curves() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "world": world, "arm": arm, "seed": seed, "split": "reversal", "trained": share, "accuracy": share / 2,
            "chance": 0.25, "items": 8, "facts": 4,
        }
        for world in ("reversals", "family") for arm in ("ft", "ft augmented")
        for seed in (0, 1) for share in (0, 0.5, 1)
    )  # fmt: skip


def coverage() -> pd.DataFrame:
    groups = {"text has the answer": [True, False], "text has a false one": [False, False]}
    numbers = {"value": [0.9, 0.3], "low": [0.8, 0.2], "high": [1.0, 0.4], "chance": 0.25, "accuracy of ft": [0.3, 0.2]}
    counts = {"items": [8, 4], "facts": [4, 2], "seeds": 2}
    return pd.DataFrame({"arm": "ft augmented", "split": "reversal", **groups, **numbers, **counts})


def model_sizes() -> pd.DataFrame:
    table = accuracy_table(answers(worlds=("family",)), PARAMS.statistics).drop(columns="world")
    return pd.concat([table.assign(parameters=size) for size in (1_000_000, 4_000_000)], ignore_index=True)


def history() -> pd.DataFrame:
    skills = {"skill": ["family/reversal", "family/two hops"], "accuracy": [0.5, 0.2]}
    return pd.concat([pd.DataFrame({"stage": k, "tokens": 1e6 * (k + 1), "chance": 0.25, **skills}) for k in range(3)])


def spent(*questions: int) -> pd.DataFrame:
    return draw.cost_accuracy_table(answers(), costs(), ANSWERED, "icl", questions, PARAMS.statistics)


@pytest.mark.parametrize(
    "figure",
    [
        lambda: comparisons.accuracy_by_arm(accuracy_table(answers(), PARAMS.statistics), ARMS),
        lambda: comparisons.coverage_figure(coverage(), ARMS, "ft"),
        lambda: comparisons.cost_accuracy(spent(1, 9), ARMS, "icl"),
        lambda: figures.learning_curves(curves(), ARMS),
        lambda: figures.model_sizes_figure(model_sizes(), ARMS),
        lambda: figures.models_by_facts(model_sizes().assign(**{"model": "a/b", "in the dataset": 8}), ARMS),
        lambda: figures.skill_history(history()),
        lambda: figures.skill_by_facts(model_sizes().assign(world="family", facts=lambda t: t["parameters"] // 10**6)),
    ],
)  # fmt: skip
def test_every_panel_of_accuracies_has_chance_drawn_and_named(figure):
    panels = [axis for axis in figure().axes if axis.get_visible()]
    assert panels
    for axis in panels:
        assert [text.get_text() for text in axis.texts].count("chance") == 1
        dotted = [line for line in axis.lines if line.get_linestyle() == ":"]
        assert len(dotted) == 1
        assert 0.25 in {*dotted[0].get_xdata(), *dotted[0].get_ydata()}


def test_models_that_differ_in_more_than_size_stand_side_by_side_each_with_its_chance():
    table = model_sizes().assign(world="family", chance=lambda t: np.where(t["parameters"] > 2e6, 0.1, 0.3))
    for axis in [axis for axis in figures.model_sizes_figure(table, ARMS).axes if axis.get_visible()]:
        marks = [line for line in axis.lines if line.get_marker() not in ("None", None)]
        assert marks and {line.get_linestyle() for line in marks} == {"None"}
        (chances,) = [lines for lines in axis.collections if lines.get_linestyle()[0][1] is not None]
        assert [segment[0][1] for segment in chances.get_segments()] == [0.3, 0.1]


def test_an_arm_that_a_panel_lacks_does_not_spoil_the_layout(tmp_path):
    table = model_sizes()
    some = table[table["arm"] != table["arm"].iloc[-1]]
    splits = ("rephrased", "two hops", "three hops or more", "one step", "two steps", "held-out combination")
    more = [some.assign(split=split) for split in splits]  # in three rows
    figure = figures.model_sizes_figure(pd.concat([table, *more], ignore_index=True), ARMS)
    save(figure, tmp_path / "drawn.png")  # a warning that the layout was given up is an error


def test_the_points_drawn_are_the_numbers_published(finished):
    for drawing, name in ((draw.accuracy, "accuracy"), (draw.differences, "differences")):
        drawing(finished, *([list(ANSWERED)] if name == "accuracy" else []))
        table = pd.read_csv(finished.output / f"{name}.csv")
        again = {"accuracy": comparisons.accuracy_by_arm, "differences": comparisons.differences_figure}[name]
        points = [
            line.get_xdata()[0] for axis in again(table, ARMS).axes for line in axis.lines if line.get_marker() in "oD"
        ]
        assert sorted(points) == pytest.approx(sorted(table["value"]))
        assert len(points) == len(table)


def test_the_headline_has_a_bar_for_each_number():
    rows = answers(("icl", "ft", "ft augmented", "ft augmented strict"))
    table = headline_table(rows, PARAMS.statistics).assign(parameters=5e6)
    assert list(table["arm"]) == ["icl", "ft", "ft augmented", "ft augmented strict"] * 2
    assert list(table["question"].unique()) == ["facts as stated", "reversals"]
    figure = comparisons.headline_figure(table, ARMS)
    heights = [bar.get_height() for axis in figure.axes for bar in axis.patches]
    assert heights == pytest.approx(list(table["value"]))
    written = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert written == [f"{100 * value:.0f}" for value in table["value"]]
    assert all(
        f"{name} {number}" in captions.headline(table) for name, number in zip(table["method"], written, strict=True)
    )
    assert headline_table(rows.assign(retention=True), PARAMS.statistics).empty


def test_the_headline_compares_methods_on_datasets_that_all_were_asked():
    rows = answers(("icl", "ft", "ft augmented"))
    narrow = rows[(rows["arm"] != "ft augmented") | (rows["world"] == "reversals")]
    table = headline_table(narrow, PARAMS.statistics)
    assert list(table["question"].unique()) == ["facts as stated (reversals only)", "reversals (reversals only)"]
    alone = headline_table(narrow[narrow["world"] == "reversals"], PARAMS.statistics)
    assert list(table["value"]) == list(alone["value"])
    two = shares(narrow, ["icl", "ft"], PARAMS.statistics)
    assert list(two["accuracy on"]) == ["facts as stated", "reversals"]
    apart = narrow[(narrow["arm"] != "icl") | (narrow["world"] == "family")]
    assert headline_table(apart, PARAMS.statistics).empty


def test_learning_curves_are_laid_out_where_an_arm_lacks_a_dataset():
    table = pd.concat([curves().assign(split=split) for split in ("as stated", "reversal")])
    table = table[(table["arm"] == "ft") | (table["world"] == "reversals")]
    figure = figures.learning_curves(table, ARMS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a layout that cannot be made is one
        figure.canvas.draw()


def test_one_arm_alone_is_no_figure_of_comparisons(finished, monkeypatch):
    monkeypatch.setattr(Experiment, "rows", lambda self, arms=None: answers(("icl",)))
    draw.accuracy(finished, ["icl", "hybrid"], "contexts")
    assert not (finished.output / "contexts.png").exists()
    draw.accuracy(finished, ["icl"])
    assert (finished.output / "accuracy.png").exists()


def test_names_of_datasets_with_a_single_row_do_not_touch():
    table = accuracy_table(answers(("icl",), ("reversal_curse", "syllogisms", "family")), PARAMS.statistics)
    figure = comparisons.accuracy_by_arm(table, ARMS)
    figure.canvas.draw()
    places = [axis.yaxis.label.get_window_extent() for axis in figure.axes if axis.get_ylabel()]
    assert len(places) == 3
    assert all(below.y1 < above.y0 for above, below in pairwise(places))


def test_a_difference_stands_on_the_side_of_the_better_arm(finished):
    table = difference_table(answers(), draw.PAIRS, PARAMS.statistics)
    means = answers().groupby(["world", "split", "arm"])["correct"].mean()
    assert set(table["difference"]) == {"icl - ft", "ft augmented - ft", "ft augmented - icl", "hybrid - icl"}
    for line in table.itertuples():
        gap = means[line.world, line.split, line.arm] - means[line.world, line.split, line.other]
        assert line.value == pytest.approx(gap) and line.low <= line.value <= line.high


def test_what_a_figure_shows_is_told_with_its_numbers():
    table = accuracy_table(answers(), PARAMS.statistics)
    said = captions.accuracy(table)
    assert all(name in said for name in (*ANSWERED, "reversals", "family"))
    assert f"hybrid {table[(table['arm'] == 'hybrid') & (table['split'] == 'reversal')]['value'].mean():.2f}" in said
    pairs = difference_table(answers(), draw.PAIRS, PARAMS.statistics)
    assert all(name in captions.differences(pairs) for name in {*pairs["difference"], "reversals", "family"})
    said = captions.cost_accuracy(spent(100), "icl")
    assert "with cached prefix: base always, ft from 90 on" in said and "hybrid never" in said


def test_an_arm_pays_where_its_cost_a_question_falls_below_the_other_s():
    table = spent(89, 91)
    cost = table[table["context"] == CACHING[True]].set_index(["arm", "questions"])["GFLOP a question"]
    assert cost["ft", 89] > cost["icl", 89] and cost["ft", 91] < cost["icl", 91]
    assert set(table["items"]) == {32}  # facts as stated are no deduction


def test_the_picture_in_a_notebook_is_the_file_with_its_text(finished, monkeypatch):
    shown = []
    monkeypatch.setattr(style, "get_ipython", lambda: object())
    monkeypatch.setattr(style, "publish_display_data", shown.append)
    draw.accuracy(finished, list(ANSWERED))
    assert base64.b64decode(shown[0]["image/png"]) == (finished.output / "accuracy.png").read_bytes()
    assert shown[0]["text/plain"] + "\n" == (finished.output / "accuracy.txt").read_text()
    assert (finished.output / "accuracy.svg").read_text().startswith("<?xml")
    assert not plt.get_fignums()


@pytest.mark.nightly
def test_a_figure_has_the_same_bytes_in_another_process_whatever_its_user_has_set(tmp_path, monkeypatch):
    (tmp_path / "matplotlibrc").write_text(
        "text.usetex: True\naxes.grid: True\nfont.family: fantasy\nlines.linewidth: 9\n"
    )
    code = (
        "import builtins, math, sys; plain = sum\n"  # as Python 3.12 and later have it
        "floats = lambda v: any(isinstance(x, float) for x in v)\n"
        "builtins.sum = lambda v, s=0: math.fsum([s, *v]) if floats(v := [*v]) else plain(v, s)\n"
        "sys.path.insert(0, 'tests'); from pathlib import Path; import test_figures as t\n"
        "t.Experiment.rows = lambda self, arms=None: t.answers()\n"
        "t.draw.accuracy(t.Experiment(t.PARAMS, Path(sys.argv[1]), '02'), list(t.ANSWERED))"
    )
    told = {"MPLBACKEND": "QtAgg", "MATPLOTLIBRC": str(tmp_path), "PYTHONPATH": "src", "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True, cwd=ROOT, env=told)
    monkeypatch.setattr(Experiment, "rows", lambda self, arms=None: answers())
    draw.accuracy(Experiment(PARAMS, tmp_path / "here", "02"), list(ANSWERED))
    files = [sorted((tmp_path / name / "02").iterdir()) for name in ("here", "there")]
    assert [file.suffix for file in files[0]] == [".csv", ".png", ".svg", ".txt"]
    for one, two in zip(*files, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.name


def test_a_layout_that_differs_in_its_last_digits_gives_the_same_bytes(tmp_path, monkeypatch):
    use_style()
    solve, files = ConstrainedLayoutEngine.execute, []
    for number in (0, 1):

        def solved(self, figure, off=number * 1e-13):
            solve(self, figure)
            for axis in figure.axes:
                axis.set_position([edge + off for edge in axis.get_position().bounds])
                axis.set_in_layout(True)

        monkeypatch.setattr(ConstrainedLayoutEngine, "execute", solved)
        figure, axes = plt.subplots(2, 3, layout="constrained")
        for axis in axes.flat:
            axis.plot([0, 1], [0, 1])
        files.append(tmp_path / f"{number}.svg")
        save(figure, files[-1])
    assert "clip-path" in files[0].read_text() and files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.nightly
def test_to_draw_again_says_what_changed(finished, monkeypatch):
    monkeypatch.setattr(draw, "drawings", lambda params: {"05_compare": [(draw.accuracy, list(ANSWERED))]})
    assert set(draw.redraw(PARAMS, finished.results).values()) == {True}
    assert set(draw.redraw(PARAMS, finished.results).values()) == {False}
    monkeypatch.setattr(Experiment, "rows", lambda self, arms=None: answers().assign(chance=0.5))
    changed = draw.redraw(PARAMS, finished.results)
    assert len(changed) == 4 and all(changed.values())


def test_how_the_bundled_model_s_skills_came_is_drawn_from_its_folder(finished):
    draw.emergence(finished)
    table = pd.read_csv(finished.output / "emergence.csv").sort_values("tokens", kind="stable")
    lines = [json.loads(line) for line in (RESULTS / "base_model" / "history.jsonl").read_text().splitlines()]
    last = {name: value for name, value in lines[-1].items() if "/" in name}
    before = json.loads((RESULTS / "base_model_cpu" / "pretraining.json").read_text())[
        "tokens"
    ]  # it goes on from that one
    ends = table[table["tokens"] == before + lines[-1]["tokens"]].set_index("skill")["accuracy"]
    assert ends.to_dict() == pytest.approx(last, abs=1e-5)
    assert all(one >= two for one, two in pairwise(table["chance"]))  # more options as there are more facts
    assert (finished.output / "emergence.txt").is_file() and Path(finished.output / "emergence.png").is_file()
