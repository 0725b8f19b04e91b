"""Sphinx settings of the manual pages alone: they need nothing but Debian's python3-sphinx."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "docs/_ext"))

project = "Entrepot"
copyright = "the Entrepot authors"
root_doc = "entrepot"
extensions = ["entrepot_settings"]
man_pages = [
    ("entrepot", "entrepot", "an API gateway between an Odoo ERP and partners", [], 1),
    ("entrepot-check", "entrepot-check", "whether a gateway is well, for Nagios and Icinga", [], 1),
    ("entrepot.ini", "entrepot.ini", "the settings of Entrepot", [], 5),
]
