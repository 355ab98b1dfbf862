"""Whatever comes from outside is read, or refused by an error that says what to do; nothing else is raised.

`make fuzz` goes on with the same table, guided by what code an input reaches. What has failed there, or here, is an
example below.
"""

import json
from functools import cache

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bad_input import TARGETS, run, seeds
from study.config import ParamsError
from study.params import Params

EXAMPLES = 60  # for each target; those that take longest have fewer
FEWER = {"written": 15, "pdf": 30, "kinship": 30, "kinds": 30}
ODD = st.sampled_from("\0\t\n\r\x0b\x1c\x85\u2028\ud800\ufeff")
TEXTS = st.text(st.characters() | ODD, max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
VALUES = (-1, 0, 2**62, 10**18, 10**40, 1e-300, 1e300, "x" * 300, "../x", "", [], {}, None, True, [None], [0, 0], [[]])


@st.composite
def mutations(draw, name: str) -> bytes:
    """A good input of a target with a few places replaced by something else."""
    data = draw(st.sampled_from(seeds(name)))
    words = st.sampled_from(TARGETS[name].words).map(lambda word: word.encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(1, 4))):
        begin, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        end = draw(st.sampled_from((begin, min(begin + 1, len(data)), end)))
        new = draw(words | st.binary(max_size=8) | TEXTS | st.just(data[begin:end] * 3))
        data = data[:begin] + new + data[end:]
    return data


@cache
def plain() -> str:
    """Valid settings, every default written out."""
    return json.dumps(Params.parse({}, "defaults").plain())


@st.composite
def changed_settings(draw) -> bytes:
    """Valid settings in which one value, somewhere, is another."""
    values = here = json.loads(plain())
    key = draw(st.sampled_from(sorted(here)))
    while isinstance(here[key], dict) and here[key] and draw(st.integers(0, 9)):
        here = here[key]
        key = draw(st.sampled_from(sorted(here)))
    here[key] = draw(st.sampled_from(VALUES) | JSON)
    return json.dumps(values).encode() if draw(st.booleans()) else yaml.safe_dump(values).encode()


# What some targets are given beside bytes, texts and mutations.
MORE = {
    "params": changed_settings() | JSON.map(lambda value: yaml.safe_dump(value).encode()),
    "jsonl": JSON.map(lambda value: json.dumps({"text": value, "title": "x"}).encode()),
    "questions jsonl": st.dictionaries(
        st.sampled_from(("id", "question", "answer", "options", "document", "option_1", "option_2", "x")), JSON
    ).map(lambda record: json.dumps(record).encode()),
}


@pytest.mark.parametrize("name", TARGETS)
def test_anything_is_read_or_refused(name):
    @settings(
        max_examples=FEWER.get(name, EXAMPLES), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(mutations(name) | TEXTS | st.binary(max_size=200) | MORE.get(name, st.nothing()))
    def anything(data):
        run(name, data)

    anything()


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 64))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("params", b"seeds: [\xff]", "params.yaml: not valid YAML: 'utf-8' codec can't decode"),
        ("params", b"{[a]: 1}", r"line 1: \['a'\] is no name of a setting; write a text, in quotes"),
        ("params", b"{[a]: 1, [a]: 2}", "is no name of a setting"),
        ("params", b"1: 2\nx: 1", "line 1: 1 is no name of a setting"),
        ("params", b"seeds: [2020-01-01]", r"seeds\.0 = datetime.date\(2020, 1, 1\): a date, which no setting is"),
        ("params", b"seeds: [2020-13-40]", "not valid YAML: month must be in 1..12"),
        ("params", b"seeds: !!set {a}", r"seeds = \{'a'\}: a set, which no setting is; write it in quotes"),
        ("params", b"model: {name: !!binary aGk=}", "model.name = b'hi': a bytes, which no setting is"),
        ("params", b"finetuning: {weight_decay: .nan}", "finetuning.weight_decay = nan: no number that a setting"),
        ("params", b"finetuning: {warmup_steps: .inf}", "finetuning.warmup_steps = inf: no number"),
        ("params", b"seeds: [0x" + b"f" * 5000 + b"]", r"seeds.0: a number beyond 2\^63; give a smaller one"),
        ("params", b'model: {name: "a\\ud800"}', r"model.name = 'a\\ud800': half a character or a NUL; take it out"),
        ("params", b'model: {name: "a\\0"}', r"model.name = 'a\\x00': half a character or a NUL"),
        ("params", b"seeds: [-1]", r"seeds = \[-1\]: -1 is below 0, as no seed can be; give 0 or more"),
        ("params", b"seeds: &a [*a]", "not valid YAML: found unconstructable recursive node"),
        ("params", b"seeds: " + b"[" * 1500, "nests too deeply; flatten it"),
        ("params", LAUGHS.encode(), r"more than the 100,000 values that are read; write without aliases \(\*name\)"),
        ("params", b"#" * 2**21, "more than the 1,048,576 bytes that are read"),
        ("params", b"model: {name: " + b"x" * 300 + b", revision: " + b"a" * 40 + b", dtype: x}", "model.dtype = 'x'"),
        ("params", b"a: !!python/object/apply:os.system [echo]", "not valid YAML: could not determine a constructor"),
        ("params", b"x: " + b"y" * 5000, r"x = 'y{79}: no such setting"),
        ("recipe", b"extends: " + b"x" * 300, r"x\.yaml: no such params file"),
        ("html", b"<ul>" * 20_000 + b"<h1>x", None),  # was read in a time that grew with the square of their number
        ("text", b"." * 200_000 + b"a", None),
        ("kinship", b" " * 50_000 + b"a", "line 1: 'a' is no fact"),
        ("kinship", b"a(" + b" " * 5_000, r"line 1: 'a\(' is no fact"),
        ("kinship", b"a b c\n" * 200_000, "has more than the 1,048,576 bytes that are read"),
    ],
)
def test_what_failed_once_is_read_or_refused(name, data, message):
    run(name, data)
    if message is None:
        TARGETS[name].read(data)
    else:
        with pytest.raises(ParamsError, match=message):
            TARGETS[name].read(data)
