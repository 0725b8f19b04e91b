"""Pages of the documentation as tests read them: their code blocks, and what these say that a command prints."""

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
_BLOCK = re.compile(
    r"^\.\. code-block:: (?P<language>\S+)\n(?P<options>(?: +:.*\n)*)\n(?P<text>(?:(?: +.*)?\n)+)", re.MULTILINE
)
_CAPTION = re.compile(r":caption: (.*)")
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
# What differs from run to run.
_VOLATILE = [
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8}-…"), "UUID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r'etag: "[0-9a-f]+"'), "ETAG"),
    (re.compile(r'("id": ?|contacts/)\d+'), r"\1ID"),
    (re.compile(r"r=\d+;t=\d+"), "LEFT"),
]


@dataclass(frozen=True)
class Block:
    """One code block: its *language*, its *text*, the *line* of the page that it begins at, and its *caption*."""

    language: str
    text: str
    line: int
    caption: str = ""

    def commands(self) -> list[tuple[str, str]]:
        """Return the commands, each with what is shown to be printed: a block of ``bash`` is one, and shows nothing."""
        return [(self.text, "")] if self.language == "bash" else _COMMAND.findall(self.text)


def page_text(page: str) -> str:
    """Return the source of *page*, a path below docs."""
    return (DOCS / page).read_text(encoding="utf-8")


def blocks(page: str, *languages: str) -> list[Block]:
    """Return the code blocks of *page* in *languages*, in order."""
    source = f"{page_text(page)}\n"
    found = [
        Block(
            match["language"],
            textwrap.dedent(match["text"]).strip("\n") + "\n",
            source.count("\n", 0, match.start()) + 1,
            "".join(_CAPTION.findall(match["options"])),
        )
        for match in _BLOCK.finditer(source)
    ]
    return [block for block in found if block.language in languages]


def prints(shown: str, printed: str) -> bool:
    """Tell whether *printed* is what a page shows: "…" stands for anything in a line, alone for any lines."""
    pattern = "".join(_line(line.rstrip()) for line in _steady(shown).strip().splitlines())
    return re.fullmatch(pattern, f"{_steady(printed).strip()}\n") is not None


def squeezed(text: str) -> str:
    """Return *text* with columns that stand two spaces apart, whatever is in them."""
    return re.sub(r" {2,}", "  ", text)


def _steady(text: str) -> str:
    for volatile, name in _VOLATILE:
        text = volatile.sub(name, text)
    return text


def _line(line: str) -> str:
    if line.strip() == "…":
        return r"(?:.*\n)*?"
    return ".*?".join(re.escape(part) for part in line.split("…")) + r"[ \t\r]*\n"
