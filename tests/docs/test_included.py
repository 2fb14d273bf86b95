"""The documentation is whole: its pages name what exists, all commands and all cards; and it asks no other place."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tf_deep3d.evaluation.options import BENCHMARKS

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "pages").glob("*.md")}


def _load():
    spec = importlib.util.spec_from_file_location("included", ROOT / "docs" / "included.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


included = _load()


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_includes_is_there(name):
    text = re.sub(r"\{\{ (help|options) .* \}\}", "", PAGES[name])
    filled = included.on_page_markdown(text)
    assert "{{" not in filled
    places = re.findall(r"\]\((?!https?:|#)([^)]*)\)", filled)
    assert all((ROOT / "docs" / "pages" / place).is_file() for place in places), "a link to what the site does not hold"


def test_every_command_tells_its_options():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    modules = {place.partition(":")[0].removesuffix(".__main__") for place in project["scripts"].values()}
    shown = {line.split()[0] for text in PAGES.values() for line in re.findall(r"\{\{ help (.*) \}\}", text)}
    assert modules <= shown
    assert set(re.findall(r"\{\{ options tf_deep3d.evaluate (\w+) \}\}", PAGES["measuring.md"])) == BENCHMARKS.keys()
    assert "usage: python -m export web" in included.on_page_markdown("{{ help export web }}")


def test_every_card_is_shown():
    cards = {path.name.removesuffix("_CARD.md") for path in (ROOT / "tf_deep3d" / "assets").glob("*_CARD.md")}
    assert set(re.findall(r"\{\{ card (\w+) \}\}", PAGES["cards.md"])) == cards


def test_the_readme_leads_to_what_is_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    places = re.findall(r"\]\((?!https?:)([^)]*)\)", readme)
    assert {"colab/one_photo.ipynb", "docs/pages/measuring.md", "docs/pages/figures/faces.webp"} <= set(places)
    assert all((ROOT / place).is_file() for place in places)


def test_a_section_ends_at_the_next_and_its_links_become_names(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# A\n## B\ntext [one](colab/one.ipynb) [two](https://a.b)\n### C\nmore\n## D\nend\n")
    assert included.section(path, "B") == "text one (`colab/one.ipynb`) [two](https://a.b)\n### C\nmore"
    with pytest.raises(ValueError, match=r"must have a section. Received: 'E', not one of \['B', 'D'\]"):
        included.section(path, "E")


def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs", reason="docs/requirements.txt is not installed")
    pytest.importorskip("mkdocstrings", reason="docs/requirements.txt is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-f", "docs/mkdocs.yml", "-d", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=1200)
    assert done.returncode == 0, done.stderr
    for path in tmp_path.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"?(https?://[^\"\s>]*)", page)
        assert not loaded, path.name
