"""Which tools there are."""

import sys

import pytest

from glimr_keras.exports.tools import TOOLS, export
from tests.exports import contents


def test_an_unknown_tool_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"to='parket'\. Did you mean 'parquet'"):
        export(contents.early(), "parket", "x")


@pytest.mark.parametrize("to", [name for name, tool in TOOLS.items() if tool.needs_place])
def test_a_place_is_asked_for(to):
    with pytest.raises(ValueError, match=f"`where` must be given for {to}"):
        export(contents.early(), to)


@pytest.mark.parametrize("library", ["mlflow", "wandb", "tensorboard"])
def test_it_is_said_how_a_library_is_installed(library, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=f"needs {library}.*pip install {library}`"):
        export(contents.early(), library, str(tmp_path))
