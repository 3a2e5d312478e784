"""What a person sees in a notebook."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = pathlib.Path(__file__).parents[1]
CELLS = [
    f"import sys; sys.path.insert(0, {str(ROOT)!r})  # which the workers must learn of\n"
    "import glimr_keras as gk\nfrom tests import models",
    "tuner = gk.RayTuner(models.build, 'val_loss', 3, directory='.', overwrite=True, seed=0)\n"
    "tuner.search(*models.TRAIN, validation_data=models.VALIDATION, epochs=1)",
    "tuner.results_dataframe()",
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_search_in_a_notebook_leaves_one_line(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    imported, searched, table = (cell["outputs"] for cell in notebook["cells"])
    assert imported == []
    assert len(searched) == 1
    assert searched[0]["data"]["text/plain"].startswith("Search 3/3 trials, best val_loss 0.")
    assert "learning_rate" in table[0]["data"]["text/html"]
