"""The documentation's site, built by `make docs`."""

import importlib.metadata

project = "keras_univrep"
copyright = "the keras_univrep authors"
release = importlib.metadata.version("keras_univrep")
extensions = ["myst_parser"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["equations.css"]
html_title = f"keras_univrep {release}"
exclude_patterns = ["_build"]
myst_heading_anchors = 2
# Pages link to programs and READMEs of the tree too, which are no part of the site.
suppress_warnings = ["myst.xref_missing"]
