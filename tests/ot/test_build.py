"""The suite runs on both builds of the engine, and on the one that it was told: tests/packaging/ tells it."""

import importlib
import os
import pkgutil

import coscribe.ot
from coscribe.ot.build import ENGINE


def test_the_build_is_the_one_that_was_asked_for() -> None:
    assert os.environ.get("COSCRIBE_EXPECT_ENGINE", ENGINE) == ENGINE


def test_all_modules_are_of_one_build() -> None:
    names = ["coscribe.ot", *(f"coscribe.ot.{module.name}" for module in pkgutil.iter_modules(coscribe.ot.__path__))]
    files = {name: importlib.import_module(name).__file__ or "" for name in names}
    of_this_build = ".py" if ENGINE == "pure" else ".so"
    assert [file for file in files.values() if not file.endswith(of_this_build)] == []
