"""What a person sees in a notebook, and the notebooks among the examples."""

import pathlib
import time

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


class Recorded(NotebookClient):
    """Keeps every message that replaces an output, as a browser gets them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.replaced = []

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] == "update_display_data":
            self.replaced.append((time.monotonic(), cell_index, msg["content"]))
        return super().process_message(msg, cell, cell_index)


def notebook_of(*sources):
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source) for source in (*CELLS[:1], *sources)]
    )


def test_a_search_in_a_notebook_leaves_one_panel(tmp_path):
    imported, searched, table = executed(notebook_of(*CELLS[1:]), tmp_path)
    assert imported == []
    assert len(searched) == 1
    data = searched[0]["data"]
    assert data["text/plain"].startswith("Search 3/3 trials, best val_loss 0.")
    assert "<b>Search 3/3 trials</b>" in data["text/html"]
    assert data["text/html"].count("<tr>") == 4
    assert "<svg" in data["text/html"]
    assert "<script" not in data["text/html"]
    assert "learning_rate" in table[0]["data"]["text/html"]


SLOW = """
class Slow(gk.RandomSearch):
    def run_trial(self, trial, **kwargs):
        trial.hyperparameters.Float("x", 0, 1)
        time.sleep(0.05)
        return {"score": trial.hyperparameters["x"]}

slow = Slow(None, gk.Objective("score", "max"), 60, directory=".", executor="inline")
"""


def test_a_panel_is_replaced_about_once_a_second_and_has_the_last_state(tmp_path):
    notebook = notebook_of("import time" + SLOW, "slow", "slow.search()", "slow")
    client = Recorded(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    _, _, before, searched, after = [cell["outputs"] for cell in notebook["cells"]]
    assert "No search yet. 60 trials are planned." in before[0]["data"]["text/html"]
    assert len(searched) == 1
    times = [at for at, _, _ in client.replaced]
    assert 2 <= len(times) <= 2 + (times[-1] - times[0]) / 0.9
    assert all(index == 3 for _, index, _ in client.replaced)
    *between, last = [content["data"]["text/plain"] for _, _, content in client.replaced]
    assert any("left" in text and not text.startswith("Search 60/60") for text in between)
    assert last.startswith("Search 60/60 trials, best score 0.")
    assert "60 trials: 60 completed" in after[0]["data"]["text/html"]


def test_no_panel_goes_on_when_a_search_cannot_begin(tmp_path):
    source = (
        "import threading\ntuner = gk.RandomSearch(lambda hp: 1 / 0, 'val_loss', 3, directory='.',"
        " executor='inline')\ntry:\n    tuner.search(*tiny_models.TRAIN)\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
        "print([each.name for each in threading.enumerate() if 'glimr_keras.' in each.name])"
    )
    _, outputs = executed(notebook_of(source), tmp_path)
    assert outputs[0]["data"]["text/plain"].startswith("Search 0/3 trials, 0:00:")
    assert outputs[1]["text"] == "ModelError\n[]\n"


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
