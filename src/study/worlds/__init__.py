"""The worlds, by name. A new world is one module with `Params` and `build`, and one row here."""

from study.worlds import deeds, family, reversals, roles

WORLDS = {
    "reversals": reversals,
    "family": family,
    "roles": roles,
    "deeds": deeds,
}
