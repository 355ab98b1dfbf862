import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from study.evidence.power import power, power_table, seeds_needed
from study.params import Statistics


def test_power_is_the_textbook_s_and_what_a_simulation_finds():
    # Cohen 1988, table 2.3: d = 0.8, n = 15, one-sided 0.05 -> 0.91 for one sample (as R's power.t.test).
    assert power(0.8, 1.0, 15, 0.05) == pytest.approx(0.9, abs=0.02)
    rng = np.random.default_rng(0)
    draws = 0.2 + 0.3 * rng.standard_normal((20_000, 12))
    t = draws.mean(axis=1) / (draws.std(axis=1, ddof=1) / math.sqrt(12))
    assert (t > stats.t.isf(0.01, 11)).mean() == pytest.approx(power(0.2, 0.3, 12, 0.01), abs=0.01)
    needed = seeds_needed(0.2, 0.3, 0.01)
    assert power(0.2, 0.3, needed, 0.01) >= 0.9 > power(0.2, 0.3, needed - 1, 0.01)
    assert math.isinf(seeds_needed(1e-6, 1.0, 0.01))


def test_each_effect_is_told_which_verdict_it_speaks_for():
    line = {"number": 1, "world": "w", "split": "s", "compared": "a - b", "claimed": "", "seeds": 3, "spread": 0.1}
    nothing = {"above": math.nan, "below": math.nan}
    effects = pd.DataFrame(
        [
            {**line, **nothing, "effect": 0.3, "above": 0.1},
            {**line, **nothing, "effect": 0.3, "below": 0.1},
            {**line, "effect": 0.0, "above": -0.1, "below": 0.1},
            {**line, **nothing, "effect": 0.3, "above": 0.1, "seeds": 1, "spread": math.nan},
        ]
    )
    table = power_table(effects, Statistics(), 12)
    assert list(table["speaks for"]) == ["supported", "contradicted", "supported", "supported"]
    assert table["power at 12 seeds"][0] == table["power at 12 seeds"][1] > 0.9 and table["seeds needed"][0] < 12
    assert table["seeds needed"][2] > table["seeds needed"][0] and math.isnan(table["seeds needed"][3])
