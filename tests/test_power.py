import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from study.evidence.claims import Claim
from study.evidence.power import claims_power, power, seeds_needed
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


@pytest.mark.parametrize("at_least, speaks, effect, tests", [(None, "contradicted", 2, 3), (2, "supported", 1, 2)])
def test_a_claim_needs_the_seeds_of_the_weakest_effect_that_its_verdict_rests_on(at_least, speaks, effect, tests):
    values, spreads = [0.5, 0.3, 0.05], [0.1, 0.2, 0.1]  # claimed are effects above 0.1
    line = {"number": 7, "world": "w", "split": "s", "compared": "a - b", "claimed": "", "seeds": 12}
    effects = pd.DataFrame(
        {**line, "effect": value, "spread": spread, "above": 0.1, "below": math.nan}
        for value, spread in zip(values, spreads, strict=True)
    )
    of = [{"of": {"arm": "a"}, "to": {"arm": "b"}, "above": 0.1, "splits": ["reversal"]}] * 3
    text = dict.fromkeys(("claim", "supported_if", "contradicted_if", "known_before"), "said")
    claim = Claim.parse({"number": 7, **text, "origin": "ours", "at_least": at_least, "effects": of}, "test")
    (found,) = claims_power([claim], effects, Statistics()).to_dict("records")
    level = (1 - Statistics().confidence) / 2 / tests
    needed = seeds_needed(abs(values[effect] - 0.1), spreads[effect], level)
    assert (found["speaks for"], found["seeds needed"]) == (speaks, needed)
    assert claims_power([claim.model_copy(update={"number": 8})], effects, Statistics()).empty
