"""The packages, and the presets of `configs/` as a part of the installed package."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["tf_deep3d*", "export*"]), "tf_deep3d.configs"],
    package_dir={"tf_deep3d.configs": "configs"},
)
