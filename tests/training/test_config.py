from dataclasses import dataclass, field

import pytest

from tf_deep3d.errors import InputError
from tf_deep3d.training import config


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    names: tuple[str, ...] = ()

    def __post_init__(self):
        if self.rate < 0:
            raise InputError(f"rate must not be negative. Received: {self.rate}")


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    steps: int = 10
    flag: bool = False
    model: str | None = None
    sizes: tuple[int, ...] = (1,)


def _load(tmp_path, text, *overrides):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return config.load(path, Outer, overrides)


def test_defaults_and_differences(tmp_path):
    assert _load(tmp_path, "") == Outer()
    assert _load(tmp_path, "steps: 3\ninner: {names: [a, b]}") == Outer(inner=Inner(names=("a", "b")), steps=3)


def test_overrides_win_in_order(tmp_path):
    loaded = _load(tmp_path, "steps: 3", "steps=4", "inner.rate=0.25", "steps=5", "model=a.npz", "sizes=[2,3]")
    assert loaded == Outer(Inner(0.25), steps=5, model="a.npz", sizes=(2, 3))
    assert _load(tmp_path, "model: x", "model=null").model is None


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "0.0001", "'1e-4'"])
def test_numbers_as_people_write_them(tmp_path, text):
    assert _load(tmp_path, f"inner: {{rate: {text}}}").inner.rate == 1e-4
    assert _load(tmp_path, "", f"inner.rate={text}").inner.rate == 1e-4


def test_whole_numbers_are_floats_but_not_the_other_way(tmp_path):
    assert isinstance(_load(tmp_path, "inner: {rate: 2}").inner.rate, float)
    with pytest.raises(config.ConfigError, match=r"steps must be a whole number\. Received: 2\.5"):
        _load(tmp_path, "steps: 2.5")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stepz: 3", r"unknown key\. Known: inner, steps, flag, model, sizes\. Received: stepz"),
        ("inner: {rat: 3}", r"inner: unknown key\. Known: rate, names\. Received: rat"),
        ("steps: true", "whole number. Received: True"),
        ("flag: 1", "true or false. Received: 1"),
        ("inner: 3", "keys and values. Received: 3"),
        ("inner: {rate: fast}", "must be a number of single precision. Received: 'fast'"),
        ("inner: {rate: .nan}", "must be a number of single precision. Received: nan"),
        ("inner: {rate: -1}", "rate must not be negative. Received: -1.0"),
        ("sizes: 3", "must be a list. Received: 3"),
        ("sizes: [a]", "whole number. Received: 'a'"),
        ("- a", "must hold keys and values"),
        ("a: [", "must be a YAML file"),
        ("sizes: [&a [1, 1], *a]", r"must be a YAML file. Received: aliases are not supported. Received: \*a"),
        ("steps: !!python/object/apply:os.system ['true']", "must be a YAML file"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(config.ConfigError, match=message):
        _load(tmp_path, text)


@pytest.mark.parametrize("override", ["steps", "steps.deeper=3", "nothing=3"])
def test_wrong_overrides(tmp_path, override):
    with pytest.raises(config.ConfigError, match="Received"):
        _load(tmp_path, "steps: 3", override)


@pytest.mark.parametrize(
    "number",
    ["1:59:59", "-1:0", "1:59:59.5", "010", "0x10", "0b1", "9" * 40, "!!int 1:59:59", "!!int 0x10", "!!float 1:1"],
)
def test_numbers_are_decimal(tmp_path, number):
    with pytest.raises(config.ConfigError, match="Received"):
        _load(tmp_path, f"steps: {number}")


def test_a_long_number_to_the_base_of_60_is_text_at_once(tmp_path):
    times = ":".join(["59"] * 300_000)
    with pytest.raises(config.ConfigError, match=r"steps must be a whole number. Received: '59:59") as caught:
        _load(tmp_path, f"steps: {times}")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))
    for tag in ("int", "float"):
        with pytest.raises(config.ConfigError, match="must be a YAML file"):
            _load(tmp_path, f"steps: !!{tag} {times}")


def test_whole_numbers_may_have_underscores_and_signs(tmp_path):
    assert _load(tmp_path, "steps: 200_000").steps == 200_000
    assert _load(tmp_path, "{steps: -3, sizes: [0, +4]}") == Outer(steps=-3, sizes=(0, 4))
    assert _load(tmp_path, "inner: {rate: 1_000.5e+1}").inner.rate == 10005.0


@pytest.mark.parametrize("number", [".inf", "-.inf", "1e39", "1.0e400", "9" * 400])
def test_numbers_beyond_single_precision_are_refused(tmp_path, number):
    with pytest.raises(config.ConfigError, match=r"rate must be a number of single precision. Received: "):
        _load(tmp_path, f"inner: {{rate: {number}}}")


@pytest.mark.parametrize("text", ["model: {}", "{}: 3", "steps: {}", "? [{}]\n: 3", "- {}", '"{}', "!!{} 3"])
def test_a_wrong_file_is_shown_in_one_short_line(tmp_path, text):
    with pytest.raises(config.ConfigError) as caught:
        _load(tmp_path, text.replace("{}", "[" + "x, " * 5000 + "x]"))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600 + len(str(tmp_path))


def test_files_that_are_missing_or_too_large(tmp_path):
    with pytest.raises(FileNotFoundError):
        config.load(tmp_path / "none.yaml", Outer)
    with pytest.raises(config.ConfigError, match="at most"):
        _load(tmp_path, "#" * (config.MAX_BYTES + 1))


def test_round_trip(tmp_path):
    settings = Outer(Inner(1e-4, ("ä",)), 7, True, None, ())
    config.write(tmp_path / "out.yaml", settings)
    assert config.load(tmp_path / "out.yaml", Outer) == settings


def test_presets_are_found_by_name_and_files_come_first(tmp_path, monkeypatch):
    assert config.find("rnet_paper").read_text().startswith("#")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rnet_paper").write_text("steps: 1")
    assert config.find("rnet_paper").read_text() == "steps: 1"
    with pytest.raises(FileNotFoundError, match=r"cnet_mobilenet, .*rnet_sx\): nothing"):
        config.find("nothing")


def test_an_installed_package_carries_its_presets(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("steps: 2")
    monkeypatch.setattr(config, "PRESETS", (tmp_path, tmp_path / "missing"))
    assert config.find("mine") == tmp_path / "mine.yaml"
