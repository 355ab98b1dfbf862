"""The worlds, by name. A new world is one module with `Params`, `PRESETS` and `build`, and one row here."""

from study.worlds import deeds, family, process, reversal_curse, reversals, roles, semantic, syllogisms

# The first six are the study's; the last two are for pretraining, which needs more relations than the study uses.
WORLDS = {
    "reversals": reversals,
    "syllogisms": syllogisms,
    "reversal_curse": reversal_curse,
    "semantic": semantic,
    "family": family,
    "process": process,
    "roles": roles,
    "deeds": deeds,
}
