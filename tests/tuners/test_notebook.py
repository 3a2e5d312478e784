"""What a person sees in a notebook, and the notebooks among the examples."""

import pathlib

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
    ),  # Jupyter's
]
ROOT = pathlib.Path(__file__).parents[2]
CELLS = [
    f"import sys; sys.path.insert(0, {str(ROOT)!r})  # which the workers must learn of\n"
    "import glimr_keras as gk\nfrom tests import tiny_models",
    "tuner = gk.RayTuner(tiny_models.build, 'val_loss', 3, directory='.', overwrite=True, seed=0)\n"
    "tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=1)",
    "tuner.results_dataframe()",
]


def executed(notebook, directory):
    NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(directory)}}
    ).execute()
    return [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_a_search_in_a_notebook_leaves_where_it_ran_and_one_line(tmp_path):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in CELLS]
    )
    imported, searched, table = executed(notebook, tmp_path)
    assert imported == []
    where, line = (output["data"]["text/plain"] for output in searched)
    assert where.rstrip().endswith("with 1 CPU.")
    assert line.startswith("Search 3/3 trials, best val_loss 0.")
    assert "learning_rate" in table[0]["data"]["text/html"]


@pytest.mark.parametrize("name", ["digits", "cross_validation"])
def test_a_notebook_of_the_examples_runs(name, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)
    assert all(cell.get("outputs", []) == [] for cell in notebook["cells"])  # stored without them
    outputs = [output for outputs in executed(notebook, tmp_path) for output in outputs]
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
    tables = [output for output in outputs if "text/html" in output.get("data", {})]
    assert len(tables) >= 2
    assert list(tmp_path.iterdir()) == []
