"""The packages, which pyproject.toml cannot say: those found, and two directories beside them."""

from setuptools import find_packages, setup

SHIPPED = ("benchmarking.specifications", "benchmarking.examples")

setup(packages=[*find_packages(include=["benchmarking", "benchmarking.*"]), *SHIPPED])
