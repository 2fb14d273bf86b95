"""Fills the documentation's pages with what is written elsewhere, so that it is written once.

A line of a page may be one of

    {{ readme Conventions }}            the section of the README under this heading
    {{ card rnet_mobilenet }}           a model card of the package's assets
    {{ bundle Kotlin }}                 the section of a bundle's README under this heading
    {{ help export web }}               what a command, or its sub-command, says of its options
    {{ options tf_deep3d.evaluate now }}  the same without the examples, which the command itself shows

and a missing one ends the build.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_LINE = re.compile(r"^\{\{ (readme|card|bundle|help|options) (.+) \}\}$", re.MULTILINE)
_PLACE = re.compile(r"\[([^\]]*)\]\((?!https?:|#)([^)]*)\)")  # a link to a file, which the site does not hold


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The text of a page with its lines filled in; a hook of MkDocs."""
    return _LINE.sub(lambda found: _FILLED[found[1]](found[2]), markdown)


def section(path: Path, heading: str) -> str:
    """What stands under `## heading` in a Markdown file; links to files become their names."""
    parts = re.split(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    if heading not in found:
        raise ValueError(f"{path.name} must have a section. Received: {heading!r}, not one of {list(found)}")
    return _PLACE.sub(r"\1 (`\2`)", found[heading].strip())


def _readme(heading: str) -> str:
    return section(ROOT / "README.md", heading)


def _bundle(heading: str) -> str:
    text = section(ROOT / "export" / "bundle_readme.md", heading)
    return re.sub(r"@(\w+)@", lambda filled: f"({filled[1].lower().replace('_', ' ')})", text)


def _card(name: str) -> str:
    """A card, its headings one level lower."""
    text = (ROOT / "tf_deep3d" / "assets" / f"{name}_CARD.md").read_text(encoding="utf-8").strip()
    return _PLACE.sub(r"\1 (`\2`)", re.sub(r"^#", "##", text, flags=re.MULTILINE))


def _help(command: str, end: str | None = None) -> str:
    """What a command says of itself, up to a line `end`."""
    module, *words = command.split()
    environment = os.environ | {"COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", module, *words, "--help"],
        capture_output=True, text=True, cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ValueError(f"{command} must tell its options. Received: {done.stderr.strip()[-300:]}")
    text = done.stdout.partition(f"\n{end}\n")[0] if end else done.stdout
    return f"## `python -m {command}`\n\n```text\n{text.strip()}\n```"


def _options(command: str) -> str:
    return _help(command, "examples:")


_FILLED = {"readme": _readme, "card": _card, "bundle": _bundle, "help": _help, "options": _options}
