import sys
import types

import pytest
from ray import tune
from ray.tune import schedulers, search

from glimr_keras._utils.late_imports import WhenUsed, if_imported


def test_nothing_is_of_a_class_whose_module_has_not_been_imported(monkeypatch):
    monkeypatch.delitem(sys.modules, "a_library", raising=False)
    assert not isinstance(1, if_imported("a_library", "Number"))
    assert isinstance(1, (int, if_imported("a_library", "Number")))
    monkeypatch.setitem(sys.modules, "a_library", types.SimpleNamespace(Number=int))
    assert isinstance(1, if_imported("a_library", "Number"))


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("ray.tune.callback", tune.Callback),
        ("ray.tune.progress_reporter", tune.ProgressReporter),
        ("ray.tune.schedulers.trial_scheduler", schedulers.TrialScheduler),
        ("ray.tune.search.sample", search.sample.Categorical),
        ("ray.tune.search.sample", search.sample.Domain),
        ("ray.tune.search.searcher", search.Searcher),
        ("ray.tune.stopper.stopper", tune.Stopper),
    ],
)
def test_what_is_looked_for_in_ray_is_where_it_is_defined(module, kind):
    assert if_imported(module, kind.__name__) is kind
    assert kind.__module__ == module


def test_a_module_is_imported_when_something_of_it_is_used(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    late = WhenUsed("colorsys")
    assert not hasattr(late, "__wrapped__")
    assert "colorsys" not in sys.modules
    assert late.rgb_to_hsv is sys.modules["colorsys"].rgb_to_hsv
    with pytest.raises(AttributeError, match="nothing"):
        late.nothing  # noqa: B018
