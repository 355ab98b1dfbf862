"""How Sphinx makes the site: executed notebooks are shown as they are, and nothing is fetched from anywhere."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from study.runs.store import PUBLISHED

project = "In-context learning or fine-tuning?"
author = copyright = "the contributors of this study"
language = "en"
extensions = ["myst_nb", "sphinx.ext.githubpages", "study_site"]
study_name = os.environ.get("STUDY") or PUBLISHED.name
nb_execution_mode = "off"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}
nb_merge_streams = True
nb_render_markdown_format = "gfm"
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_enable_extensions = ["attrs_block", "attrs_inline"]
myst_heading_anchors = 3
exclude_patterns = ["article"]  # `make article` makes it
html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it fetches pages, which browsers refuse for files
html_permalinks_icon = "#"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
suppress_warnings = ["mystnb.unknown_mime_type"]
