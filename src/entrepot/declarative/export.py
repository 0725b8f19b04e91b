"""Write the catalog in force as one file that `check` takes and `diff` calls equal."""

from __future__ import annotations

from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.representer import SafeRepresenter

from entrepot.catalog.written import Document
from entrepot.connectors.base import Json
from entrepot.declarative.diff import SECTIONS
from entrepot.declarative.reader import plain_scalar

_WIDTH = 120


class _Representer(SafeRepresenter):
    """Writes plain values; a text that would read back as anything else is quoted."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Return true: one object never refers to another."""
        return True

    def represent_text(self, data: str) -> ScalarNode:
        """Return the scalar of a text."""
        # Line ends and the like survive as escapes only: some of them YAML 1.1, and so the emitter, would fold.
        style = None if plain_scalar(data) == (data, "") and data.isprintable() else '"'
        node: ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", data, style=style)
        return node


_Representer.add_representer(str, _Representer.represent_text)


def export(document: Document) -> str:
    """Return *document* as YAML; sections without objects are left out, and an empty catalog is ``{}``."""
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = _WIDTH
    yaml.allow_unicode = True
    sections: dict[str, Json] = {name: document[name] for name in SECTIONS if document.get(name)}
    out = StringIO()
    yaml.dump(sections, out)
    return out.getvalue()
