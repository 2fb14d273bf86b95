"""The package's own description: what it needs, its commands, the presets that it carries."""

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}


def _required():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_requirements_are_those_of_the_package_and_all_its_extras():
    wanted = [*NEEDED, *(each for extra in EXTRAS.values() for each in extra)]
    assert sorted(each.name for each in _required()) == sorted({each.name for each in wanted})


@pytest.mark.parametrize("required", _required(), ids=lambda required: required.name)
def test_the_tested_version_lies_within_the_bounds_of_the_package(required):
    bounds = next(
        each for each in [*NEEDED, *(one for extra in EXTRAS.values() for one in extra)] if each.name == required.name
    )
    tested = [clause.version for clause in required.specifier if clause.operator in ("~=", "==", ">=")]
    assert tested
    assert all(bounds.specifier.contains(version) for version in tested)


def _locked():
    """(requirement of one version, its hashes) of each package in the lock file."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    words = [entry.replace("\\\n", " ").split("--hash=") for entry in entries]
    return [(Requirement(line.strip()), [each.strip() for each in hashes]) for line, *hashes in words]


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_the_lock_file_has_one_version_of_each_requirement(python):
    here = {"python_version": python, "python_full_version": f"{python}.0"}
    locked = [line for line, _ in _locked() if line.marker is None or line.marker.evaluate(here)]
    versions = {canonicalize_name(line.name): next(iter(line.specifier)).version for line in locked}
    assert len(versions) == len(locked)
    for required in _required():
        assert required.specifier.contains(versions[canonicalize_name(required.name)]), f".ci/lock: {required}"


def test_the_lock_file_knows_every_package_by_its_hashes_and_no_host():
    for line, hashes in _locked():
        assert hashes, line
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), line
        assert line.url is None
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "place"), PROJECT["scripts"].items())
def test_each_console_script_is_a_command(name, place, capsys):
    module, _, function = place.partition(":")
    with pytest.raises(SystemExit) as ended:
        getattr(importlib.import_module(module), function)(["--help"])
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_a_photo_needs_no_extra():
    """What the extras bring is imported by none of the modules that reconstruct a photo."""
    heavy = {
        "tensorflow", "keras", "h5py", "yaml", "tensorboard", "google_crc32c", "apache_beam", "av", "pillow_heif",
        "litert_quantizer", "skimage",
    }  # fmt: skip
    modules = {"pyyaml": "yaml", "scikit_image": "skimage"}  # by other names than their packages
    named = {each.name.replace("-", "_") for extra in EXTRAS.values() for each in extra}
    assert {modules.get(name, name) for name in named} == heavy
    script = (
        "import sys\n"
        f"heavy = {heavy!r}\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in heavy:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import tf_deep3d.reconstruct\n"
        "from tf_deep3d.reconstruction import photo\n"
        "from tf_deep3d.reconstruction.album import results\n"
        "import tf_deep3d.porting.__main__\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr
