"""The study as a static site, made from its results alone."""

from study.paths import ROOT

SITE = ROOT / "build" / "site"
