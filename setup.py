"""The packages, which pyproject.toml cannot say: those found, and three directories beside them."""

from setuptools import find_packages, setup

SHIPPED = ("benchmarking.specifications", "benchmarking.examples", "benchmarking.ci")

setup(packages=[*find_packages(include=["benchmarking", "benchmarking.*"]), *SHIPPED])
