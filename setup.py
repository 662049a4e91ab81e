"""Packaging. The dependencies stand in requirements.txt only."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent


def requirements(file: str) -> list[str]:
    lines = (HERE / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r"))]


SHIPPED = {f"benchmarking.{name}": name for name in ("specifications", "examples")}
"""Beside the package in a checkout, inside it in a wheel; ``benchmarking/cli/shipped.py`` finds both."""

setup(
    name="ml-benchmark-platform",
    version=runpy.run_path(str(HERE / "benchmarking/__init__.py"))["__version__"],
    description="Compares the inference runtime of models over frameworks, platforms and commits",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=[*find_packages(include=["benchmarking", "benchmarking.*"]), *SHIPPED],
    package_dir=SHIPPED,
    package_data={
        **{package: ["**/*"] for package in SHIPPED},
        "benchmarking": ["py.typed"],
        "benchmarking.frameworks.caffe2.program": ["**/*.py", "**/*.proto", "**/*.comp"],
    },
    exclude_package_data={package: ["**/__pycache__/*", "**/*.pyc"] for package in SHIPPED},
    include_package_data=True,
    install_requires=requirements("requirements.txt"),
    extras_require={
        "dev": requirements("requirements-dev.txt"),
        "opengl": requirements("requirements-opengl.txt"),
    },
    entry_points={
        "console_scripts": [
            "harness.py = benchmarking.start:harness",
            "repo_driver.py = benchmarking.start:repo_driver",
        ]
    },
)
