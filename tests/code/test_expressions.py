"""More ways in which scripts keep state from trial to trial, and ways that only look like them."""

import sys

import pytest

from tests.tuners.test_trial_code import looked_at

LOSSES = """
class Losses(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.losses = []
    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])
"""
OWN_FIT = """
class Model(gk.HyperModel):
    def __init__(self):
        super().__init__()
        self.cb = {made}
    def build(self, hp):
        return compiled(hp.Int("u", 1, 4))
    def fit(self, hp, model, *args, callbacks=(), **kwargs):
        return model.fit(*args, callbacks=[*callbacks, {given}], **kwargs)
hypermodel = Model()
"""
DATA = """
class Data(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()
        self.epoch, self.indices, self.ids = 0, np.arange(9), list(range(9))
        self.rng, self.table = np.random.default_rng(0), pd.DataFrame({{"a": range(9)}})
        self.on_epoch_end()
    def __len__(self):
        return 3
    def __getitem__(self, index):
        chosen = self.indices[index : index + 3] + self.epoch + self.ids[index]
        return np.zeros((3, 2)) + self.rng.random() + len(self.table), chosen
    def another_order(self, size):
        return np.random.permutation(size)
    def on_epoch_end(self):
        {changes}
hypermodel = lambda hp: compiled()
callbacks = [Data()]
"""

# Scripts that keep state, each with the names that are to be told
STATEFUL = {
    "callback_of_the_script_that_fit_passes_on": (
        LOSSES + "cb = Losses()" + OWN_FIT.format(made=None, given="cb"),
        {"cb.losses"},
    ),
    "callback_of_the_hypermodel": (
        LOSSES + OWN_FIT.format(made="Losses()", given="self.cb"),
        {"self.cb.losses"},
    ),
    "callbacks_in_a_list": (
        LOSSES + OWN_FIT.format(made="[Losses(), Losses()]", given="*self.cb"),
        {"self.cb[0].losses", "self.cb[1].losses"},
    ),
    "callback_that_run_trial_passes_on": (
        LOSSES
        + """
cb = Losses()
class tuner_class(gk.RandomSearch):
    def run_trial(self, trial, *args, **kwargs):
        return super().run_trial(trial, *args, callbacks=[cb], **kwargs)
hypermodel = lambda hp: compiled()
""",
        {"cb.losses"},
    ),
    "keyword_of_a_partial": (
        """
        def build(hp, log):
            log.append(hp.Int("u", 1, 4))
            return compiled()
        hypermodel = functools.partial(build, log=[])
        """,
        {"log"},
    ),
    "decorated_method": (
        """
        def logged(function):
            @functools.wraps(function)
            def wrapper(*args, **kwargs):
                return function(*args, **kwargs)
            return wrapper
        class Model(gk.HyperModel):
            n = 0
            @logged
            def build(self, hp):
                self.n += 1
                return compiled()
        hypermodel = Model()
        """,
        {"self.n"},
    ),
    "first_of_all_arguments": (
        """
        def counted(function):
            def wrapper(*args):
                args[0].n += 1
                return function(*args)
            return wrapper
        class Model(gk.HyperModel):
            n = 0
            @counted
            def build(self, hp):
                return compiled()
        hypermodel = Model()
        """,
        {"self.n"},
    ),
    "dataset_that_counts": (DATA.format(changes="self.epoch += 1"), {"Data.epoch"}),
    "dataset_that_counts_and_shuffles": (
        DATA.format(
            changes="self.epoch = self.epoch + 1; self.indices = self.rng.permutation(self.indices)"
        ),
        {"Data.epoch"},
    ),
    "object_that_search_is_given_and_a_library_calls": (
        """
        class Loss:
            calls = 0
            def __call__(self, y_true, y_pred):
                self.calls += 1
                return y_true - y_pred
        hypermodel = lambda hp: compiled()
        callbacks = [{"loss": Loss()}]
        """,
        {"dict['loss'].calls"},
    ),
    "method_by_another_name": (
        """
        class Model(gk.HyperModel):
            def __init__(self):
                super().__init__()
                self.history = []
            def build(self, hp):
                add = self.history.append
                add(hp.Int("u", 1, 4))
                return compiled()
        hypermodel = Model()
        """,
        {"self.history"},
    ),
    "method_that_is_passed_on": (
        """
        LOG = []
        def hypermodel(hp):
            list(map(LOG.append, [hp.Int("u", 1, 4)]))
            return compiled()
        """,
        {"LOG"},
    ),
    "methods_of_types": (
        """
        import operator
        LOG, BY_KEY, ITEMS, MORE = [], {}, {}, {}
        def hypermodel(hp):
            list.append(LOG, hp.Int("u", 1, 4))
            dict.update(BY_KEY, a=1)
            operator.setitem(ITEMS, hp.Int("u", 1, 4), 1)
            MORE.__setitem__(hp.Int("u", 1, 4), 1)
            return compiled()
        """,
        {"LOG", "BY_KEY", "ITEMS", "MORE"},
    ),
    "through_a_local_container": (
        """
        LOG, FIRST, SECOND, PAIR, LATER = [], [], [], [], []
        def hypermodel(hp):
            options = {"log": LOG, **{"pair": PAIR}}
            options["log"].append(1)
            options.get("pair").append(1)
            options["later"] = LATER
            options["later"].append(1)
            for each in (FIRST, SECOND):
                each.append(2)
            return compiled()
        """,
        {"LOG", "FIRST", "SECOND", "PAIR", "LATER"},
    ),
    "arguments_in_a_dict": (
        """
        class Model(gk.HyperModel):
            n = m = 0
            def helper(self, of):
                of.n += 1
            def count(self):
                self.m += 1
            def build(self, hp):
                self.helper(**{"of": self})
                functools.partial(Model.count, self)()
                return compiled()
        hypermodel = Model()
        """,
        {"self.n", "self.m"},
    ),
    "what_a_with_gets": (
        """
        import contextlib
        @contextlib.contextmanager
        def scope(of):
            yield of
        class Own:
            entered = left = 0
            def __enter__(self):
                self.entered += 1
            def __exit__(self, *args):
                self.left += 1
        own = Own()
        class Model(gk.HyperModel):
            n = 0
            def build(self, hp):
                with scope(self) as me, own:
                    me.n += 1
                return compiled()
        hypermodel = Model()
        """,
        {"self.n", "own.entered", "own.left"},
    ),
    "special_methods": (
        """
        class Own:
            read = written = counted = added = 0
            def __getitem__(self, key):
                self.read += 1
            def __setitem__(self, key, value):
                self.written += 1
            def __len__(self):
                self.counted += 1
                return 1
            def __add__(self, other):
                self.added += 1
                return self
        own = Own()
        def hypermodel(hp):
            own["a"] = own["b"]
            return compiled(len(own + 1))
        """,
        {"own.read", "own.written", "own.counted", "own.added"},
    ),
    "object_that_run_trial_is_given": (
        """
        class Sets:
            used = 0
            def following(self):
                self.used += 1
        class tuner_class(gk.RandomSearch):
            def run_trial(self, trial, sets, *args, more=None):
                sets.following()
                more.used += 1
                return 0.0
        callbacks, search_kwargs = [Sets()], {"more": Sets()}
        """,
        {"Sets.used", "more.used"},
    ),
    "kept_in_the_first_branch": (
        """
        LOG = []
        def chosen(flag):
            if flag:
                return []
            return LOG
        def hypermodel(hp):
            if hp.Boolean("a"):
                target = LOG
            else:
                target = []
            target.append(1)
            (chosen(hp.Boolean("b"))).append(1)
            return compiled()
        """,
        {"LOG"},
    ),
    "containers_of_own_classes": (
        """
        class Log(dict):
            def __setitem__(self, key, value):
                print(key)
                super().__setitem__(key, value)
        class Settings(dict):
            def __getitem__(self, key):
                return super().__getitem__(key)
            def __delitem__(self, key):
                dict.__delitem__(self, key)
        class Names(list):
            def append(self, name):
                super().append(str(name))
        class Table(collections.UserDict):
            def __getitem__(self, key):
                return super().__getitem__(key.lower())
        class Store:
            def __init__(self):
                self.values = {}
            def __getitem__(self, key):
                return len(self.values)
            def __setitem__(self, key, value):
                self.values[key] = value
        log, cfg, names, table, store = Log(), Settings(step=0), Names(), Table(n=0), Store()
        gone = Settings(a=1)
        def hypermodel(hp):
            log[len(log)] = hp.Int("u", 1, 4)
            cfg["step"] += 1
            names.append(cfg["step"])
            table["n"] += 1
            del gone[min(gone)]
            store[hp.get("u")] += 1
            return compiled()
        """,
        {"log", "cfg['step']", "names", "table['n']", "gone", "store.values"},
    ),
    "drawn_and_taken_away": (
        DATA.format(
            changes="""
        chosen = random.sample(self.ids, 2)
        self.ids = [each for each in self.ids if each not in chosen]
        batch = self.table.sample(3)
        self.table = self.table.drop(batch.index)
        order = np.random.permutation(len(self.indices))
        self.indices = self.indices[order[2:]]
        self.epoch = sum(self.ids) + self.epoch"""
        ),
        {"Data.ids", "Data.table", "Data.indices", "Data.epoch"},
    ),
    "drawn_with_replacement_or_too_few": (
        DATA.format(
            changes="""
        self.ids = random.sample(self.ids, len(self.ids) - 1)
        self.indices = self.indices[self.rng.choice(len(self.indices), size=3, replace=False)]
        self.table = self.table.sample(frac=0.5)"""
        ),
        {"Data.ids", "Data.indices", "Data.table"},
    ),
    "contexts_that_leave_something": (
        """
        class Tracker:
            def __init__(self):
                self.stack, self.seen, self.depth, self.last = [], [], 0, []
            def __enter__(self):
                self.stack.append(self.depth)
                self.seen.append(self.depth)
                self.depth += 2
                self.last.append(1)
            def __exit__(self, *args):
                self.depth -= 1
                self.seen.pop(0)
                if len(self.last) > 3:
                    self.last.pop()
        tracker = Tracker()
        def hypermodel(hp):
            with tracker:
                return compiled(name=str(tracker.stack))
        """,
        {"tracker.stack", "tracker.seen", "tracker.depth", "tracker.last"},
    ),
}
if sys.version_info >= (3, 11):
    STATEFUL["except_of_a_group"] = (
        """
        LOG = []
        def hypermodel(hp):
            try:
                return compiled()
            except* ValueError:
                LOG.append(1)
        """,
        {"LOG"},
    )

# Scripts that keep none
STATELESS = {
    "other_orders": DATA.format(
        changes="""
        order = self.rng.permutation(len(self.ids))
        self.ids, self.indices = [self.ids[i] for i in order], self.indices[order]
        rows = self.table.sample(frac=1.0).index
        self.table = self.table.loc[rows]"""
    ),
    "other_orders_of_pairs": DATA.format(
        changes="""
        pairs = list(zip(self.ids, self.indices))
        random.shuffle(pairs)
        self.ids, self.indices = zip(*pairs)
        count = len(self.table)
        self.table = self.table.sample(n=count)"""
    ),
    "drawn_for_an_epoch": DATA.format(
        changes="""
        chosen = random.sample(range(99), 9)
        self.ids = [each + 1 for each in chosen]
        self.indices = self.rng.choice(99, 9)"""
    ),
    "configuration_in_a_dict_of_its_own_class": """
        class Settings(dict):
            def __setitem__(self, key, value):
                super().__setitem__(key, value)
            def __getitem__(self, key):
                return super().__getitem__(key)
        cfg = Settings(units=1)
        def hypermodel(hp):
            cfg["units"] = hp.Int("units", 1, 4)
            return compiled(cfg["units"])
        """,
    "contexts_that_undo_what_they_do": """
        import contextlib
        FLAG = False
        class Tracker:
            names = []
            def __init__(self):
                self.stack, self.depth, self.before = [], 0, None
            def __enter__(self):
                global FLAG
                self.stack.append(self.depth)
                self.depth += 1
                self.before, FLAG = FLAG, True
                self.names.append("a")
                return self
            def __exit__(self, *args):
                global FLAG
                FLAG = self.before
                self.names.pop()
                self.depth -= 1
                self.stack.pop()
        tracker, scopes = Tracker(), []
        class Named:
            names = []
            def __enter__(self):
                self.names.append("a")
            def __exit__(self, *args):
                self.names.pop()
        @contextlib.contextmanager
        def scope(name):
            scopes.append(name)
            try:
                yield
            finally:
                scopes.pop()
        def hypermodel(hp):
            with tracker as found, scope("a"), Named():
                return compiled(name=f"{found.depth}{len(scopes)}{FLAG}")
        """,
    "callback_that_begins_anew": """
        class Own(keras.callbacks.Callback):
            def __init__(self):
                super().__init__()
                self.losses, self.best, self.epochs = [], None, 0
            def on_epoch_end(self, epoch, logs=None):
                self.losses.append(logs["loss"])
                self.epochs += 1
                if self.best is None or logs["loss"] < self.best:
                    self.best = logs["loss"]
                self.model.optimizer.learning_rate *= 0.9
                self.model.stop_training = self.params["epochs"] == self.epochs
            def on_train_begin(self, logs=None):
                self.losses, self.best, self.epochs = [], None, 0
            def summary(self):
                LOG.append(self.losses)
        LOG, cb = [], Own()
        class Model(gk.HyperModel):
            def build(self, hp):
                return compiled()
            def fit(self, hp, model, *args, callbacks=(), **kwargs):
                model.fit(*args, callbacks=[*callbacks, cb], **kwargs)
                return cb.losses[-1]
        hypermodel = Model()
        """,
    "class_that_is_only_named": """
        RESULTS = []
        class Model(gk.HyperModel):
            UNITS = [1, 2]
            def build(self, hp):
                if isinstance(self, Model) and type(self) is Model and issubclass(Model, object):
                    return compiled(hp.Choice("u", Model.UNITS))
            def evaluate(self):
                RESULTS.append(self.build(None))
        hypermodel = Model()
        """,
    "object_whose_methods_the_script_calls": """
        RESULTS = []
        class Config:
            units = 3
            def report(self):
                RESULTS.append(self.units)
        config = Config()
        def hypermodel(hp):
            return compiled(getattr(config, "units"), name=str(config))
        """,
    "layers_and_metrics_of_the_script": """
        class Scaled(keras.layers.Layer):
            def build(self, shape):
                self.seen = self.add_weight(name="seen")
            def call(self, x):
                self.seen.assign_add(1.0)
                return x
        class Total(keras.metrics.Metric):
            def __init__(self):
                super().__init__()
                self.total = self.add_weight(shape=(), initializer="zeros", name="total")
            def update_state(self, *args, **kwargs):
                self.total.assign_add(1.0)
            def result(self):
                return self.total
        layer, total = Scaled(), Total()
        def hypermodel(hp):
            model = keras.Sequential([layer, keras.layers.Dense(1)])
            model.compile("adam", "mse", metrics=[total])
            return model
        """,
    "callbacks_that_fit_is_given": """
        class Model(gk.HyperModel):
            def build(self, hp):
                return compiled()
            def fit(self, hp, model, *args, callbacks=[], **kwargs):
                callbacks.append(keras.callbacks.TerminateOnNaN())
                return model.fit(*args, callbacks=callbacks, **kwargs)
        hypermodel = Model()
        """,
    "tuner_that_is_passed_on": """
        class Note(keras.callbacks.Callback):
            def __init__(self, tuner):
                super().__init__()
                self.tuner = tuner
        class tuner_class(gk.RandomSearch):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.ended = []
            def on_trial_end(self, trial):
                self.ended.append(trial.trial_id)
            def run_trial(self, trial, *args, **kwargs):
                return super().run_trial(trial, *args, callbacks=[Note(self)], **kwargs)
        hypermodel = lambda hp: compiled()
        """,
}
STATELESS |= {
    f"dataset_that_shuffles_{number}": DATA.format(changes=changes)
    for number, changes in enumerate(
        (
            "np.random.shuffle(self.indices)",
            "random.shuffle(self.ids)",
            "self.rng.shuffle(self.indices)",
            "self.indices = np.random.permutation(len(self.indices))",
            "self.indices = np.arange(9); np.random.shuffle(self.indices)",
            "self.table = self.table.sample(frac=1).reset_index(drop=True)",
            "self.indices = self.another_order(9)",
            "order = np.arange(9); np.random.shuffle(order); self.indices = self.indices[order]",
        )
    )
}


@pytest.mark.parametrize("script", STATEFUL)
def test_state_is_seen(tmp_path, monkeypatch, script):
    source, names = STATEFUL[script]
    assert {state.name for state in looked_at(source, tmp_path, monkeypatch).kept} == names


@pytest.mark.parametrize("script", STATELESS)
def test_what_is_no_state_is_not_seen(tmp_path, monkeypatch, script):
    assert looked_at(STATELESS[script], tmp_path, monkeypatch).kept == []
