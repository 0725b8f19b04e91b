"""Sphinx settings of the documentation."""

from importlib.metadata import version as installed

project = "Entrepot"
copyright = "the Entrepot authors"
release = version = installed("entrepot")
extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build", "changelog.d"]
html_theme = "furo"
html_title = f"Entrepot {release}"
nitpicky = False
