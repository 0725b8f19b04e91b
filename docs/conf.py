"""Sphinx settings of the documentation."""

import sys
from importlib.metadata import version as installed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Entrepot"
copyright = "the Entrepot authors"
release = version = installed("entrepot")
extensions = ["entrepot_reference", "entrepot_settings"]
exclude_patterns = ["_build", "changelog.d"]
html_theme = "furo"
html_title = f"Entrepot {release}"
nitpicky = True
man_pages = [
    ("man/entrepot", "entrepot", "an API gateway between an Odoo ERP and partners", [], 1),
    ("man/entrepot-check", "entrepot-check", "whether a gateway is well, for Nagios and Icinga", [], 1),
    ("man/entrepot.ini", "entrepot.ini", "the settings of Entrepot", [], 5),
]
