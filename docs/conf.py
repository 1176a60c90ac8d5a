"""Settings of the documentation site: `make docs-site` builds these pages into site/ with Sphinx."""

project = "lhcml"
copyright = "the lhcml authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "lhcml"
# pages link to sections of each other
myst_heading_anchors = 4
# pages are the same files that are read in the repository
html_copy_source = False
html_show_sourcelink = False
