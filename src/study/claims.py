"""The claims under test, declared before any result: a new claim is one row."""

from study.stats import Claim
from study.world import Split

REVERSAL, TWO_HOPS, TRAINED = str(Split.REVERSAL), str(Split.TWO_HOPS), str(Split.TRAINED)
HELD_OUT_CATEGORY, HELD_OUT_COMBINATION = str(Split.HELD_OUT_CATEGORY), str(Split.HELD_OUT_COMBINATION)

CLAIMS = (
    Claim("fine-tuning learns the trained direction", "reversals", TRAINED, "ft", "base"),
    Claim("in-context learning reverses where fine-tuning does not", "reversals", REVERSAL, "icl", "ft"),
    Claim("local augmentation mends reversals", "reversals", REVERSAL, "ft local", "ft"),
    Claim("augmented fine-tuning reverses better than fine-tuning", "reversals", REVERSAL, "ft augmented", "ft"),
    Claim("augmented fine-tuning beats in-context learning", "reversals", REVERSAL, "ft augmented", "icl"),
    Claim("in-context learning reverses where fine-tuning does not", "family", REVERSAL, "icl", "ft"),
    Claim("augmented fine-tuning reverses better than fine-tuning", "family", REVERSAL, "ft augmented", "ft"),
    Claim("in-context learning chains where fine-tuning does not", "family", TWO_HOPS, "icl", "ft"),
    Claim("local augmentation mends chains", "family", TWO_HOPS, "ft local", "ft"),
    Claim("global augmentation mends chains", "family", TWO_HOPS, "ft global", "ft"),
    Claim("augmented fine-tuning chains better than fine-tuning", "family", TWO_HOPS, "ft augmented", "ft"),
    Claim("in-context learning reverses where fine-tuning does not", "reversal_curse", REVERSAL, "icl", "ft"),
    Claim("augmented fine-tuning reverses better than fine-tuning", "reversal_curse", REVERSAL, "ft augmented", "ft"),
    Claim("in-context learning reverses where fine-tuning does not", "semantic", REVERSAL, "icl", "ft"),
    Claim("augmented fine-tuning reverses better than fine-tuning", "semantic", REVERSAL, "ft augmented", "ft"),
    Claim("in-context learning deduces where fine-tuning does not", "syllogisms", TWO_HOPS, "icl", "ft"),
    Claim("augmented fine-tuning deduces better than fine-tuning", "syllogisms", TWO_HOPS, "ft augmented", "ft"),
    Claim("in-context learning deduces where fine-tuning does not", "semantic", TWO_HOPS, "icl", "ft"),
    Claim("augmented fine-tuning deduces better than fine-tuning", "semantic", TWO_HOPS, "ft augmented", "ft"),
    Claim("augmentation mends a held-out category", "semantic", HELD_OUT_CATEGORY, "ft augmented", "ft"),
    Claim("augmentation mends a held-out combination", "process", HELD_OUT_COMBINATION, "ft augmented", "ft"),
)
