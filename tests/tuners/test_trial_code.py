"""Which scripts are seen to keep state from trial to trial, and which are not."""

import functools
import importlib.util
import sys
import textwrap

import keras
import pytest

import glimr_keras as gk
from glimr_keras.code.trees import CodeTrees
from glimr_keras.glimr.search import _Built
from glimr_keras.models.data import FitArguments
from glimr_keras.training.messages import Change
from glimr_keras.tuners.base_tuner import BaseTuner
from glimr_keras.tuners.hooks import overridden
from glimr_keras.tuners.trial_code import TrialCode

HEAD = """
import collections, functools, heapq, itertools, os, random
import glimr_keras as gk, keras, numpy as np, pandas as pd

tuner_class, callbacks, hypermodel, oracle = gk.RandomSearch, [], None, None

def compiled(units=2, name=None):
    model = keras.Sequential([keras.layers.Dense(units)], name=name)
    model.compile("adam", "mse")
    return model
"""
COUNTER_CLASS = """
class Counter:
    def __init__(self):
        self.n = 0
    def step(self):
        self.n += 1
        return self.n
"""

# Scripts that keep state, each with the names that are to be told
STATEFUL = {
    "attribute_of_tuner": (
        """
        class tuner_class(gk.RandomSearch):
            n = 0
            def run_trial(self, trial, *args, **kwargs):
                self.n += 1
                return super().run_trial(trial, *args, **kwargs)
        hypermodel = lambda hp: compiled(hp.Int("u", 1, 4))
        """,
        {"self.n"},
    ),
    "attribute_of_hypermodel": (
        """
        class Model(gk.HyperModel):
            def __init__(self):
                super().__init__()
                self.n = 0
            def build(self, hp):
                self.n = self.n + 1
                return compiled(hp.Int("u", 1, 4), f"m{self.n}")
        hypermodel = Model()
        """,
        {"self.n"},
    ),
    "global_counter": (
        """
        counter = 0
        def hypermodel(hp):
            global counter
            counter += 1
            return compiled(hp.Int("u", 1, 4), f"m{counter}")
        """,
        {"counter"},
    ),
    "global_that_is_read_and_assigned": (
        """
        counter = 0
        def hypermodel(hp):
            global counter
            name = f"m{counter}"
            counter = len(name) + counter
            return compiled(name=name)
        """,
        {"counter"},
    ),
    "closure": (
        """
        def factory():
            n = 0
            def build(hp):
                nonlocal n
                n += 1
                return compiled(hp.Int("u", 1, 4))
            return build
        hypermodel = factory()
        """,
        {"n"},
    ),
    "list_of_closure": (
        """
        def factory(log):
            return lambda hp: log.append(hp.Int("u", 1, 4)) or compiled()
        hypermodel = factory([])
        """,
        {"log"},
    ),
    "results_by_key": (
        """
        RESULTS = {}
        class Model(gk.HyperModel):
            def build(self, hp):
                return compiled(hp.Int("u", 1, 4))
            def fit(self, hp, model, *args, **kwargs):
                history = model.fit(*args, **kwargs)
                RESULTS[hp.get("u")] = history.history["loss"]
                return history
        hypermodel = Model()
        """,
        {"RESULTS"},
    ),
    "dict_that_load_model_reads": (
        """
        class tuner_class(gk.RandomSearch):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.models = {}
            def save_model(self, trial_id, model, step=0):
                self.models[trial_id] = model.get_weights()
            def load_model(self, trial):
                model = self.hypermodel.build(trial.hyperparameters)
                model.set_weights(self.models[trial.trial_id])
                return model
            def run_trial(self, trial, x, y):
                model = self.hypermodel.build(trial.hyperparameters)
                loss = model.fit(x, y).history["loss"][-1]
                self.save_model(trial.trial_id, model)
                return loss
        hypermodel = lambda hp: compiled(hp.Int("u", 1, 4))
        """,
        {"self.models"},
    ),
    "predefined_list_that_is_consumed": (
        """
        SETS = [1, 2, 3]
        class tuner_class(gk.RandomSearch):
            def run_trial(self, trial, *args):
                return SETS.pop(0) + trial.hyperparameters.Int("x", 0, 3)
        """,
        {"SETS"},
    ),
    "list_that_a_counter_goes_through": (
        """
        SETS = [{"u": 1}, {"u": 2}]
        class Model(gk.HyperModel):
            index = 0
            def build(self, hp):
                chosen = SETS[self.index]
                self.index += 1
                return compiled(**chosen)
        hypermodel = Model()
        """,
        {"self.index"},
    ),
    "iterator": (
        """
        class Model(gk.HyperModel):
            def __init__(self):
                super().__init__()
                self.numbers = itertools.count()
            def build(self, hp):
                return compiled(name=f"m{next(self.numbers)}")
        hypermodel = Model()
        """,
        {"self.numbers"},
    ),
    "generator_in_a_loop": (
        """
        DEPTHS = iter([1, 2, 3])
        def hypermodel(hp):
            for depth in DEPTHS:
                return compiled(depth)
        """,
        {"DEPTHS"},
    ),
    "set_of_what_was_seen": (
        """
        class Model(gk.HyperModel):
            seen = set()
            def build(self, hp):
                units = hp.Int("u", 1, 4)
                if units in self.seen:
                    raise gk.FailedTrialError("again")
                self.seen.add(units)
                return compiled(units)
        hypermodel = Model()
        """,
        {"self.seen"},
    ),
    "best_so_far": (
        """
        class tuner_class(gk.RandomSearch):
            best = float("inf")
            def run_trial(self, trial, x, y):
                model = self.hypermodel.build(trial.hyperparameters)
                loss = model.fit(x, y).history["loss"][-1]
                if loss < self.best:
                    self.best = loss
                    model.save("best.keras")
                return loss
        hypermodel = lambda hp: compiled(hp.Int("u", 1, 4))
        """,
        {"self.best"},
    ),
    "best_so_far_or_none": (
        """
        BEST = None
        class Model(gk.HyperModel):
            def build(self, hp):
                return compiled(hp.Int("u", 1, 4))
            def fit(self, hp, model, *args, **kwargs):
                global BEST
                loss = model.fit(*args, **kwargs).history["loss"][-1]
                if BEST is None or loss < BEST:
                    BEST = loss
                return loss
        hypermodel = Model()
        """,
        {"BEST"},
    ),
    "first_time_only": (
        """
        class Model(gk.HyperModel):
            first = True
            def build(self, hp):
                model = compiled(hp.Int("u", 1, 4))
                if self.first:
                    print(model.name)
                    self.first = False
                return model
        hypermodel = Model()
        """,
        {"self.first"},
    ),
    "once_by_a_mark": (
        """
        class Model(gk.HyperModel):
            done = False
            def build(self, hp):
                if not self.done:
                    self.done = True
                    print("once")
                return compiled(hp.Int("u", 1, 4))
        hypermodel = Model()
        """,
        {"self.done"},
    ),
    "weights_of_the_last_trial": (
        """
        class Model(gk.HyperModel):
            last = None
            def build(self, hp):
                model = compiled()
                if self.last is not None:
                    model.build((None, 2))
                    model.set_weights(self.last.get_weights())
                self.last = model
                return model
        hypermodel = Model()
        """,
        {"self.last"},
    ),
    "object_of_the_script": (
        COUNTER_CLASS
        + """
counter = Counter()
def hypermodel(hp):
    return compiled(name=f"m{counter.step()}")
""",
        {"counter.n"},
    ),
    "object_in_an_attribute": (
        COUNTER_CLASS
        + """
class Model(gk.HyperModel):
    def __init__(self):
        super().__init__()
        self.counter = Counter()
    def build(self, hp):
        return compiled(name=f"m{self.counter.step()}")
hypermodel = Model()
""",
        {"self.counter.n"},
    ),
    "function_that_is_called": (
        """
        LOG = []
        def note(value):
            LOG.append(value)
        def units_of(hp):
            note(hp.Int("u", 1, 4))
            return 2
        def hypermodel(hp):
            return compiled(units_of(hp))
        """,
        {"LOG"},
    ),
    "list_that_is_passed_on": (
        """
        LOG = []
        def note(where, value):
            where.append(value)
        def hypermodel(hp):
            note(LOG, hp.Int("u", 1, 4))
            return compiled()
        """,
        {"LOG"},
    ),
    "another_name_for_a_list": (
        """
        class Model(gk.HyperModel):
            def __init__(self):
                super().__init__()
                self.log = []
            def build(self, hp):
                log = self.log
                log.append(hp.Int("u", 1, 4))
                return compiled()
        hypermodel = Model()
        """,
        {"self.log"},
    ),
    "item_of_an_item": (
        """
        LOG = collections.defaultdict(list)
        def hypermodel(hp):
            LOG[hp.Int("u", 1, 4)].append(1)
            return compiled()
        """,
        {"LOG[hp.Int('u', 1, 4)]"},
    ),
    "set_by_default": (
        """
        LOG = {}
        def hypermodel(hp):
            LOG.setdefault("units", []).append(hp.Int("u", 1, 4))
            return compiled()
        """,
        {"LOG['units']"},
    ),
    "count_in_a_dict": (
        """
        COUNTS = {"builds": 0}
        def hypermodel(hp):
            COUNTS["builds"] += 1
            return compiled(name=f"m{COUNTS['builds']}")
        """,
        {"COUNTS['builds']"},
    ),
    "deleted_item": (
        """
        LEFT = {1: 1, 2: 2}
        def hypermodel(hp):
            del LEFT[hp.Int("u", 1, 2)]
            return compiled()
        """,
        {"LEFT"},
    ),
    "class_attribute": (
        """
        class Numbered(keras.layers.Dense):
            made = 0
            def __init__(self, *args, **kwargs):
                type(self).made += 1
                super().__init__(*args, name=f"d{Numbered.made}", **kwargs)
        def hypermodel(hp):
            model = keras.Sequential([Numbered(2)])
            model.compile("adam", "mse")
            return model
        """,
        {"Numbered.made"},
    ),
    "list_of_a_class": (
        """
        class Log(keras.callbacks.Callback):
            losses = []
            def on_epoch_end(self, epoch, logs=None):
                self.losses.append(logs["loss"])
        hypermodel = lambda hp: compiled()
        callbacks = [Log()]
        """,
        {"Log.losses"},
    ),
    "lambda_callback": (
        """
        losses = []
        callbacks = [keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: losses.append(logs["loss"]))]
        hypermodel = lambda hp: compiled()
        """,
        {"losses"},
    ),
    "callback_that_is_made_in_a_trial": (
        """
        class Log(keras.callbacks.Callback):
            def __init__(self, losses):
                super().__init__()
                self.losses = losses
            def on_epoch_end(self, epoch, logs=None):
                self.losses.append(logs["loss"])
        class Model(gk.HyperModel):
            def __init__(self):
                super().__init__()
                self.losses = []
            def build(self, hp):
                return compiled()
            def fit(self, hp, model, *args, callbacks=None, **kwargs):
                return model.fit(*args, callbacks=[*callbacks, Log(self.losses)], **kwargs)
        hypermodel = Model()
        """,
        {"self.losses"},
    ),
    "default_argument": (
        """
        def hypermodel(hp, seen=[]):
            seen.append(hp.Int("u", 1, 4))
            return compiled(len(seen))
        """,
        {"seen"},
    ),
    "generator_of_random_numbers": (
        """
        rng = np.random.default_rng(0)
        def hypermodel(hp):
            return compiled(int(rng.integers(1, 5)))
        """,
        {"rng"},
    ),
    "shuffled_in_place": (
        """
        ORDER = list(range(9))
        def hypermodel(hp):
            random.shuffle(ORDER)
            return compiled(1 + ORDER[0])
        """,
        {"ORDER"},
    ),
    "heap": (
        """
        QUEUE = []
        def hypermodel(hp):
            heapq.heappush(QUEUE, hp.Int("u", 1, 4))
            return compiled()
        """,
        {"QUEUE"},
    ),
    "data_frame": (
        """
        class Model(gk.HyperModel):
            def __init__(self):
                super().__init__()
                self.table = pd.DataFrame(columns=["u"])
            def build(self, hp):
                self.table.loc[len(self.table)] = [hp.Int("u", 1, 4)]
                return compiled()
        hypermodel = Model()
        """,
        {"self.table.loc"},
    ),
    "concatenated_data_frame": (
        """
        table = pd.DataFrame()
        def hypermodel(hp):
            global table
            table = pd.concat([table, pd.DataFrame([hp.values])])
            return compiled()
        """,
        {"table"},
    ),
    "array": (
        """
        SCORES = np.zeros(10)
        class Model(gk.HyperModel):
            def build(self, hp):
                return compiled()
            def fit(self, hp, model, *args, **kwargs):
                SCORES[hp.Int("i", 0, 9)] = 1
                return model.fit(*args, **kwargs)
        hypermodel = Model()
        """,
        {"SCORES"},
    ),
    "setattr": (
        """
        class Model(gk.HyperModel):
            n = 0
            def build(self, hp):
                setattr(self, "n", getattr(self, "n") + 1)
                return compiled(name=f"m{self.n}")
        hypermodel = Model()
        """,
        {"self.n"},
    ),
    "property": (
        """
        class Model(gk.HyperModel):
            n = 0
            @property
            def number(self):
                self.n += 1
                return self.n
            def build(self, hp):
                return compiled(name=f"m{self.number}")
        hypermodel = Model()
        """,
        {"self.n"},
    ),
    "callable_object": (
        """
        class Builder:
            n = 0
            def __call__(self, hp):
                self.n += 1
                return compiled(name=f"m{self.n}")
        hypermodel = Builder()
        """,
        {"build.n"},
    ),
    "method_as_function": (
        """
        class Builder:
            n = 0
            def build(self, hp):
                self.n += 1
                return compiled(name=f"m{self.n}")
        hypermodel = Builder().build
        """,
        {"self.n"},
    ),
    "partial": (
        """
        def build(log, hp):
            log.append(hp.Int("u", 1, 4))
            return compiled()
        hypermodel = functools.partial(build, [])
        """,
        {"list"},
    ),
    "decorated": (
        """
        LOG = []
        def logged(function):
            @functools.wraps(function)
            def wrapper(*args):
                LOG.append(1)
                return function(*args)
            return wrapper
        @logged
        def hypermodel(hp):
            return compiled()
        """,
        {"LOG"},
    ),
    "base_class": (
        """
        class Base(gk.HyperModel):
            n = 0
            def build(self, hp):
                self.n += 1
                return compiled()
        class Model(Base):
            def build(self, hp):
                return super().build(hp)
        hypermodel = Model()
        """,
        {"self.n"},
    ),
    "read_in_the_driver": (
        """
        class tuner_class(gk.RandomSearch):
            history = None
            def run_trial(self, trial, *args, **kwargs):
                self.history = super().run_trial(trial, *args, **kwargs)
                return self.history
            def on_trial_end(self, trial):
                print(self.history)
        hypermodel = lambda hp: compiled()
        """,
        {"self.history"},
    ),
    "set_in_the_driver": (
        """
        class tuner_class(gk.RandomSearch):
            current = None
            def on_trial_begin(self, trial):
                self.current = trial.trial_id
            def run_trial(self, trial, *args, **kwargs):
                print(self.current)
                return super().run_trial(trial, *args, **kwargs)
        hypermodel = lambda hp: compiled()
        """,
        {"self.current"},
    ),
    "counted_by_the_oracle": (
        """
        ASKED = []
        class Own(gk.Oracle):
            def populate_space(self, trial_id):
                ASKED.append(trial_id)
                return {"status": gk.engine.trial.TrialStatus.RUNNING, "values": {}}
        def hypermodel(hp):
            return compiled(name=f"m{len(ASKED)}")
        tuner_class, oracle = gk.Tuner, Own("val_loss", max_trials=2)
        """,
        {"ASKED"},
    ),
    "handed_to_the_script": (
        """
        class Model(gk.HyperModel):
            def build(self, hp):
                return compiled()
            def fit(self, hp, model, *args, **kwargs):
                global history
                history = model.fit(*args, **kwargs)
                return history
        hypermodel = Model()
        def report():
            print(history.history)
        """,
        {"history"},
    ),
    "numbered_files": (
        """
        class Model(gk.HyperModel):
            number = 0
            def build(self, hp):
                return compiled()
            def fit(self, hp, model, *args, **kwargs):
                self.number = self.number + 1
                history = model.fit(*args, **kwargs)
                model.save_weights(f"model_{self.number}.weights.h5")
                return history
        hypermodel = Model()
        """,
        {"self.number"},
    ),
    "hook_of_epochs": (
        """
        class tuner_class(gk.RandomSearch):
            losses = []
            def on_epoch_end(self, trial, model, epoch, logs=None):
                self.losses.append(logs["loss"])
        hypermodel = lambda hp: compiled()
        """,
        {"self.losses"},
    ),
    "layer_of_the_script_that_grows": (
        """
        base = keras.Sequential([keras.layers.Dense(2)])
        def hypermodel(hp):
            base.add(keras.layers.Dense(1))
            base.compile("adam", "mse")
            return base
        """,
        {"base"},
    ),
}

STATEFUL |= {
    "global_that_is_read_before_it_is_assigned_again": (
        """
        def hypermodel(hp):
            global model
            model = compiled(hp.Int("u", 1, 4))
            return model
        print(hypermodel)
        def report():
            print(model.name)
        """,
        {"model"},
    ),
    "parts_of_a_pair": (
        """
        LOGS, PAIR = {"a": []}, ([], [])
        def hypermodel(hp):
            for name, log in LOGS.items():
                log.append(hp.Int(name, 1, 4))
            for log in LOGS.values():
                log.append(1)
            first, second = PAIR
            second.append(2)
            return compiled()
        """,
        {"LOGS[…][1]", "LOGS[…]", "PAIR[1]"},
    ),
    "saved_here_loaded_there": (
        """
        class tuner_class(gk.RandomSearch):
            path = "none"
            def run_trial(self, trial, *args, **kwargs):
                model = self.hypermodel.build(trial.hyperparameters)
                self.save_model(trial.trial_id, model)
                return 0.0
            def save_model(self, trial_id, model, step=0):
                self.path = f"{trial_id}.keras"
                model.save(self.path)
            def load_model(self, trial):
                return keras.models.load_model(self.path)
        hypermodel = lambda hp: compiled()
        """,
        {"self.path"},
    ),
    "counted_when_the_search_begins": (
        """
        class tuner_class(gk.RandomSearch):
            started = 0
            def on_search_begin(self):
                self.started += 1
            def run_trial(self, trial, *args, **kwargs):
                return self.started + trial.hyperparameters.Int("x", 0, 3)
        """,
        {"self.started"},
    ),
    "view_of_an_array": (
        """
        X = np.zeros((9, 2))
        def hypermodel(hp):
            half = X[:4]
            half += 1
            return compiled()
        """,
        {"X[:4]"},
    ),
    "item_of_an_array": (
        """
        COUNTS = np.zeros(4)
        def hypermodel(hp):
            COUNTS[hp.Int("u", 0, 3)] += 1
            return compiled()
        """,
        {"COUNTS[hp.Int('u', 0, 3)]"},
    ),
    "scaler_that_learns_on": (
        """
        from sklearn.preprocessing import StandardScaler
        class Model(gk.HyperModel):
            def __init__(self):
                super().__init__()
                self.scaler = StandardScaler()
            def data(self, hp):
                self.scaler.partial_fit(np.zeros((2, 2)))
                return (np.zeros((2, 2)), np.zeros(2)), None
            def build(self, hp):
                return compiled()
        hypermodel = Model()
        """,
        {"self.scaler"},
    ),
    "kept_in_both_branches": (
        """
        LOG, MORE = [], []
        def hypermodel(hp):
            target = LOG if hp.Boolean("a") else MORE
            target.append(1)
            if hp.Boolean("b"):
                other = []
            else:
                other = MORE
            other.append(2)
            return compiled()
        """,
        {"LOG", "MORE"},
    ),
    "in_a_comprehension": (
        """
        LOG = []
        def hypermodel(hp):
            [LOG.append(unit) for unit in range(hp.Int("u", 1, 4))]
            return compiled()
        """,
        {"LOG"},
    ),
    "set_in_one_branch_only": (
        """
        class Model(gk.HyperModel):
            rate = 0.0
            def build(self, hp):
                if hp.Boolean("dropout"):
                    self.rate = self.rate + 0.5
                return compiled(1 + int(self.rate))
        hypermodel = Model()
        """,
        {"self.rate"},
    ),
    "in_with_and_try": (
        """
        LOG = []
        def hypermodel(hp):
            try:
                with open(os.devnull) as file:
                    LOG.append(file.name)
            finally:
                pass
            return compiled()
        """,
        {"LOG"},
    ),
    "walrus_and_match": (
        """
        LOG = []
        def hypermodel(hp):
            match hp.Choice("kind", ["a", "b"]):
                case "a" if (log := LOG) is not None:
                    log.append(1)
                case _:
                    pass
            return compiled()
        """,
        {"LOG"},
    ),
    "iterator_by_method": (
        """
        class Numbers:
            def __init__(self):
                self.n = 0
            def __iter__(self):
                return self
            def __next__(self):
                self.n += 1
                return self.n
        NUMBERS = Numbers()
        def hypermodel(hp):
            return compiled(next(NUMBERS))
        """,
        {"NUMBERS", "NUMBERS.n"},
    ),
}

# Scripts that keep none
STATELESS = {
    "restored_state": """
        class tuner_class(gk.RandomSearch):
            rate = 0.1
            def get_state(self):
                return {"rate": self.rate}
            def set_state(self, state):
                self.rate = state["rate"]
            def run_trial(self, trial, *args, **kwargs):
                return self.rate + trial.hyperparameters.Int("x", 0, 3)
        """,
    "parts_of_arrays_and_tables": """
        X, table = np.zeros((9, 2)), pd.DataFrame({"a": range(9), "b": range(9)})
        class tuner_class(gk.RandomSearch):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.x, self.table = X, table
            def run_trial(self, trial, *args, **kwargs):
                train = np.arange(5)
                x = self.x[train]
                x[:, 0] = 1
                x += 1
                rows = self.table.iloc[train]
                rows["a"] = 1
                column = self.table["b"]
                column[0] = 2
                more = self.table.loc[:, ["a", "b"]]
                more.insert(0, "c", 1)
                other = table.copy()
                other["d"] = 1
                other.drop(columns="a", inplace=True)
                return float(x.sum())
        """,
    "training_loop": """
        import tensorflow as tf
        class Model(gk.HyperModel):
            def build(self, hp):
                return compiled(hp.Int("u", 1, 4))
            def fit(self, hp, model, x, y, callbacks=None, **kwargs):
                dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
                loss_fn, metric = keras.losses.MeanSquaredError(), keras.metrics.Mean()
                best, losses, step = float("inf"), [], 0
                @tf.function
                def train_step(x, y):
                    nonlocal step
                    step += 1
                    with tf.GradientTape() as tape:
                        loss = loss_fn(y, model(x))
                    losses.append(loss)
                    metric.update_state(loss)
                    return loss
                for callback in callbacks:
                    callback.set_model(model)
                    callback.count = 0
                    callback.count += 1
                for epoch in range(2):
                    for x_batch, y_batch in dataset:
                        train_step(x_batch, y_batch)
                    best = min(best, float(metric.result()))
                    metric.reset_state()
                return best
        hypermodel = Model()
        """,
    "global_that_the_script_assigns_again": """
        def hypermodel(hp):
            global model
            model = compiled(hp.Int("u", 1, 4))
            return model
        model = compiled()
        print(model.name)
        """,
    "helpers_of_an_object": """
        import argparse, logging
        logger, args = logging.getLogger("x"), argparse.Namespace(units=2, rate=0.1)
        class Data:
            def __init__(self):
                self.x = np.zeros((4, 2))
            def load(self, scale):
                x = self.x * scale
                x -= 1
                return x
        data = Data()
        def make(args):
            logger.info("units %d", args.units)
            return compiled(args.units)
        def hypermodel(hp):
            args.units = hp.Int("u", 1, 4)
            args.rate = args.units / 10
            data.load(2)
            return make(args)
        """,
    "parts_of_a_model_on_self": """
        class Model(gk.HyperModel):
            def __init__(self, shape=(2,)):
                super().__init__()
                self.shape, self.model, self.parts = shape, None, None
            def add_layers(self, hp):
                for i in range(hp.Int("layers", 1, 3)):
                    self.model.add(keras.layers.Dense(2))
                    self.parts.append(i)
            def build(self, hp):
                self.hp, self.model, self.parts = hp, keras.Sequential(), []
                self.add_layers(hp)
                self.model.compile("adam", "mse")
                return self.model
        hypermodel = Model()
        """,
    "frozen_layers_one_by_one": """
        base = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(3)])
        def hypermodel(hp):
            for layer in base.layers[: hp.Int("frozen", 0, 2)]:
                layer.trainable = False
            for number, layer in enumerate(base.layers):
                layer.trainable = number > 1
            return compiled()
        """,
    "plain_function": """
        def hypermodel(hp):
            return compiled(hp.Int("u", 1, 4))
        """,
    "assigned_and_read": """
        class Model(gk.HyperModel):
            model = None
            def build(self, hp):
                self.units = hp.Int("u", 1, 4)
                self.model = compiled(self.units)
                self.model.optimizer.learning_rate = 0.1
                return self.model
        hypermodel = Model()
        """,
    "local_list": """
        def hypermodel(hp):
            layers = []
            for i in range(hp.Int("layers", 1, 3)):
                layers.append(keras.layers.Dense(2))
            layers += [keras.layers.Dense(1)]
            count = 0
            count += len(layers)
            model = keras.Sequential(layers)
            model.compile("adam", "mse")
            return model
        """,
    "set_before_it_grows": """
        class Model(gk.HyperModel):
            log = []
            def build(self, hp):
                self.log = []
                self.n = 0
                for i in range(3):
                    self.log.append(i)
                    self.n += 1
                return compiled(hp.Int("u", 1, 4))
        hypermodel = Model()
        """,
    "set_in_build_grown_in_fit": """
        class Model(gk.HyperModel):
            def __init__(self):
                super().__init__()
                self.losses = []
            def build(self, hp):
                self.losses = []
                return compiled(hp.Int("u", 1, 4))
            def fit(self, hp, model, *args, **kwargs):
                self.losses.append(model.fit(*args, **kwargs).history["loss"])
                return self.losses[-1][-1]
        hypermodel = Model()
        """,
    "set_by_a_method": """
        class Model(gk.HyperModel):
            def reset(self):
                self.log = []
            def note(self, value):
                self.log.append(value)
            def build(self, hp):
                self.reset()
                self.note(1)
                return compiled()
        hypermodel = Model()
        """,
    "both_branches": """
        class Model(gk.HyperModel):
            activation = None
            def build(self, hp):
                if hp.Boolean("relu"):
                    self.activation = "relu"
                else:
                    self.activation = "tanh"
                return compiled(name=self.activation)
        hypermodel = Model()
        """,
    "computed_once": """
        class Model(gk.HyperModel):
            x = None
            def load(self):
                if self.x is None:
                    self.x = np.zeros((4, 2))
                return self.x
            def data(self, hp):
                return (self.load(), self.load()), None
            def build(self, hp):
                return compiled()
        hypermodel = Model()
        """,
    "computed_once_with_early_return": """
        _DATA = None
        def load():
            global _DATA
            if _DATA is not None:
                return _DATA
            _DATA = np.zeros((4, 2))
            return _DATA
        def hypermodel(hp):
            return compiled(load().shape[1])
        """,
    "computed_once_by_or": """
        class Model(gk.HyperModel):
            x = None
            def build(self, hp):
                self.x = self.x or [1, 2]
                return compiled(len(self.x))
        hypermodel = Model()
        """,
    "computed_once_by_hasattr": """
        class Model(gk.HyperModel):
            def build(self, hp):
                if not hasattr(self, "width"):
                    self.width = 3
                return compiled(self.width)
        hypermodel = Model()
        """,
    "computed_once_by_exception": """
        class Model(gk.HyperModel):
            def build(self, hp):
                try:
                    return compiled(self.width)
                except AttributeError:
                    self.width = 3
                return compiled(self.width)
        hypermodel = Model()
        """,
    "cache_by_key": """
        CACHE = {}
        def windows(width):
            if width not in CACHE:
                CACHE[width] = np.zeros((4, width))
            return CACHE[width]
        def hypermodel(hp):
            return compiled(windows(hp.Int("w", 1, 4)).shape[1])
        """,
    "lru_cache": """
        @functools.lru_cache
        def windows(width):
            return np.zeros((4, width))
        def hypermodel(hp):
            return compiled(windows(hp.Int("w", 1, 4)).shape[1])
        """,
    "configuration_in_a_dict": """
        PARAMS = {"units": 1, "rate": 0.1}
        def make(units, rate):
            return compiled(units)
        def hypermodel(hp):
            PARAMS["units"] = hp.Int("u", 1, 4)
            PARAMS["rate"] = hp.Float("r", 0.1, 0.2)
            return make(**PARAMS)
        """,
    "objects_of_the_trial": """
        class tuner_class(gk.RandomSearch):
            def run_trial(self, trial, *args, callbacks=(), **kwargs):
                trial.notes = []
                trial.notes.append(1)
                trial.hyperparameters.values["extra"] = 3
                kwargs["epochs"] = trial.hyperparameters.Int("epochs", 1, 3)
                kwargs.pop("verbose", None)
                callbacks = list(callbacks)
                callbacks.append(keras.callbacks.TerminateOnNaN())
                return super().run_trial(trial, *args, callbacks=callbacks, **kwargs)
        hypermodel = lambda hp: compiled()
        """,
    "callback_of_its_own": """
        class Count(keras.callbacks.Callback):
            def __init__(self):
                super().__init__()
                self.epochs, self.losses = 0, []
            def on_epoch_end(self, epoch, logs=None):
                self.epochs += 1
                self.losses.append(logs["loss"])
        hypermodel = lambda hp: compiled()
        callbacks = [Count()]
        """,
    "model_of_its_own": """
        class Own(keras.Model):
            def __init__(self):
                super().__init__()
                self.steps, self.parts = 0, []
                self.parts.append(keras.layers.Dense(1))
            def call(self, x):
                self.steps += 1
                return self.parts[0](x)
        def hypermodel(hp):
            model = Own()
            model.compile("adam", "mse")
            return model
        """,
    "copies": """
        class Model(gk.HyperModel):
            layers, options = [1, 2], {"a": 1}
            def build(self, hp):
                layers = list(self.layers)
                layers.append(3)
                options = self.options.copy()
                options["b"] = 2
                more = {**self.options}
                more.update(c=3)
                units = self.layers[0]
                units += 1
                return compiled(units)
        hypermodel = Model()
        """,
    "libraries": """
        def hypermodel(hp):
            os.environ["SEEN"] = "1"
            np.random.seed(1)
            keras.utils.set_random_seed(1)
            pd.set_option("display.width", 80)
            keras.config.set_floatx("float32")
            return compiled(1 + int(np.random.rand()))
        """,
    "what_is_only_read": """
        SIZES = {"small": [1, 2], "large": [3, 4]}
        table = pd.DataFrame({"x": [1, 2]})
        def hypermodel(hp):
            units = SIZES[hp.Choice("size", ["small", "large"])]
            total = table.x.add(1).sum() + table["x"].max()
            return compiled(units[0])
        """,
    "closure_of_a_trial": """
        def hypermodel(hp):
            count, made = 0, []
            def block():
                nonlocal count
                count += 1
                made.append(count)
                return keras.layers.Dense(count)
            model = keras.Sequential([block(), block()])
            model.compile("adam", "mse")
            return model
        """,
    "folds_of_a_cross_validation": """
        class tuner_class(gk.RandomSearch):
            def __init__(self, *args, folds=3, **kwargs):
                super().__init__(*args, **kwargs)
                self.folds = folds
            def run_trial(self, trial, x, y, batch_size=32, epochs=1):
                losses = []
                for fold in range(self.folds):
                    model = self.hypermodel.build(trial.hyperparameters)
                    model.fit(x, y, batch_size=batch_size, epochs=epochs)
                    losses.append(model.evaluate(x, y))
                    self.save_model(trial.trial_id, model)
                return {"val_loss": np.mean(losses)}
        hypermodel = lambda hp: compiled()
        """,
    "driver_only": """
        class tuner_class(gk.RandomSearch):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.ended = []
            def on_trial_end(self, trial):
                self.ended.append(trial.trial_id)
                super().on_trial_end(trial)
            def run_trial(self, trial, *args, **kwargs):
                return super().run_trial(trial, *args, **kwargs)
        hypermodel = lambda hp: compiled()
        """,
    "oracle_of_its_own": """
        class Own(gk.Oracle):
            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                self.asked = 0
            def populate_space(self, trial_id):
                self.asked += 1
                return {"status": gk.engine.trial.TrialStatus.RUNNING, "values": {}}
        hypermodel = lambda hp: compiled()
        tuner_class, oracle = gk.Tuner, Own("val_loss", max_trials=2)
        """,
    "hooks_of_epochs": """
        class tuner_class(gk.RandomSearch):
            def on_epoch_begin(self, trial, model, epoch, logs=None):
                self.losses, self.batches = [], 0
            def on_batch_end(self, trial, model, batch, logs=None):
                self.losses.append(logs["loss"])
                self.batches += 1
            def on_epoch_end(self, trial, model, epoch, logs=None):
                print(self.losses, self.batches)
        hypermodel = lambda hp: compiled()
        """,
    "frozen_layers": """
        base = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(3)])
        def hypermodel(hp):
            base.trainable = hp.Boolean("trainable")
            model = keras.Sequential([base, keras.layers.Dense(1)])
            model.compile("adam", "mse")
            return model
        """,
    "shadowed_name": """
        log = []
        def hypermodel(hp):
            log = [1]
            log.append(2)
            return compiled(len([log.append(n) for n in range(2)]))
        """,
}


OTHER_NAMES = {"partial", "list_that_is_passed_on", "kept_in_both_branches", "view_of_an_array"}
OTHER_NAMES |= {"walrus_and_match", "parts_of_a_pair"}
"""Scripts in which what changes has another name where it does."""


def looked_at(source, directory, monkeypatch):
    """Run a script, and return what is seen of the code of its trials."""
    file = directory / "script.py"
    file.write_text(HEAD + textwrap.dedent(source))
    spec = importlib.util.spec_from_file_location("script_of_test", file)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "script_of_test", module)
    spec.loader.exec_module(module)
    first = [module.hypermodel] if module.oracle is None else [module.oracle, module.hypermodel]
    options = {"objective": "val_loss"} if module.oracle is None else {}
    tuner = module.tuner_class(*first, directory=directory, **options)
    is_callback = [isinstance(each, keras.callbacks.Callback) for each in module.callbacks]
    given = module.callbacks if all(is_callback) else []
    args = () if given else tuple(module.callbacks)
    arguments = FitArguments(args, getattr(module, "search_kwargs", {}))
    return TrialCode(tuner, overridden(tuner, BaseTuner), given, arguments)


@pytest.mark.parametrize("script", STATEFUL)
def test_state_is_seen(tmp_path, monkeypatch, script):
    source, names = STATEFUL[script]
    found = looked_at(source, tmp_path, monkeypatch).kept
    assert {state.name for state in found} == names
    lines = (tmp_path / "script.py").read_text().splitlines()
    for state in found:
        file, _, rest = state.place.rpartition(":")
        line = lines[int(rest.partition(",")[0]) - 1]
        assert file == str(tmp_path / "script.py")
        is_passed_on = script in OTHER_NAMES
        assert state.name.partition("[")[0].rpartition(".")[2] in line or is_passed_on


@pytest.mark.parametrize("script", STATELESS)
def test_what_is_no_state_is_not_seen(tmp_path, monkeypatch, script):
    assert looked_at(STATELESS[script], tmp_path, monkeypatch).kept == []


def test_of_code_without_source_variables_are_seen(tmp_path):
    source = """
counter, other = 0, 0
def build(hp):
    global counter, other
    counter += 1
    other = 1
    made = 0
    def inner():
        nonlocal made
        made += 1
    inner()
    return counter
def factory(n):
    def build(hp):
        nonlocal n
        n += 1
        return n
    return build
"""
    variables = {"__name__": "typed_in"}
    exec(compile(source, "<typed in>", "exec"), variables)
    for build, name in ((variables["build"], "counter"), (variables["factory"](0), "n")):
        tuner = gk.RandomSearch(build, "loss", directory=tmp_path)
        found = TrialCode(tuner, overridden(tuner, BaseTuner)).kept
        assert [state.name for state in found] == [name]
        assert found[0].place.startswith("<typed in>:")


def test_the_builder_and_the_loader_of_glimrs_search_are_looked_at_too(tmp_path):
    log, loads = [], 0

    def builder(config):
        log.append(config["units"])
        return None, {}, {}, {}

    def loader(**kwargs):
        nonlocal loads
        loads += 1
        return None, None

    tuner = gk.RayTuner(_Built(builder, loader, {}), "loss", directory=tmp_path)
    found = TrialCode(tuner, overridden(tuner, BaseTuner)).kept
    assert {state.name for state in found} == {"log", "loads"}


def test_code_of_installed_packages_is_not_the_users_but_that_of_the_classes_that_run_trials():
    trees = CodeTrees({"lab_tuners"})
    installed = "/somewhere/lib/python3/site-packages"
    assert trees.is_own_module(f"{installed}/lab_tuners/cv.py", "lab_tuners.cv")
    assert not trees.is_own_module(f"{installed}/other/cv.py", "other.cv")
    assert not trees.is_own_module(f"{installed}/keras/models.py", "keras.models")
    assert not trees.is_own_module("/home/me/keras/src/models.py", "keras.src.models")
    assert not trees.is_own_module(functools.__file__, "functools")
    assert not trees.is_own_module(gk.__file__, "glimr_keras")
    assert not trees.is_own_module(None, "builtins")
    assert trees.is_own_module("/home/me/script.py", "__main__")
    assert trees.is_own_module("<ipython-input-3-abc>", "__main__")


def test_a_change_that_the_script_does_not_look_for_is_expected(tmp_path, monkeypatch):
    source = """
    class Model(gk.HyperModel):
        def __init__(self):
            super().__init__()
            self.size, self.loss, self.log = 0, None, []
        def build(self, hp):
            self.size = hp.Int("u", 1, 4)
            self.log.append(1)
            return compiled(self.size)
        def fit(self, hp, model, *args, **kwargs):
            self.loss = model.fit(*args, **kwargs).history["loss"][-1]
            return self.loss
    hypermodel = Model()
    def report():
        print(hypermodel.loss)
    """
    code = looked_at(source, tmp_path, monkeypatch)
    assert [state.name for state in code.kept] == ["self.log"]
    expected = {
        name: code.expects(Change("Model", name, was_none))
        for name, was_none in (("size", False), ("loss", True), ("log", False))
    }
    assert expected == {"size": True, "loss": False, "log": True}  # the log is told of already
    assert not code.expects(Change("Model", "unseen", was_none=False))
    assert code.expects(Change("Model", "unseen", was_none=True))


def test_of_what_is_in_an_object_a_change_is_expected_too(tmp_path, monkeypatch):
    source = """
    class Timer(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.started = 1.0
    class Losses(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.losses = []
        def on_epoch_end(self, epoch, logs=None):
            self.losses.append(logs["loss"])
    class Data(keras.utils.PyDataset):
        def __init__(self):
            super().__init__()
            self.files, self.epoch = ["a", "b"], 0
        def __len__(self):
            return 2
        def __getitem__(self, index):
            return self.files[index]
        def on_epoch_end(self):
            random.shuffle(self.files)
    timer, losses, callbacks = Timer(), Losses(), [Data()]
    class Model(gk.HyperModel):
        def build(self, hp):
            return compiled()
        def fit(self, hp, model, *args, **kwargs):
            return model.fit(*args, callbacks=[timer, losses], **kwargs)
    hypermodel = Model()
    def report():
        print(losses.losses)
    """
    code = looked_at(source, tmp_path, monkeypatch)
    assert code.kept == []
    changes = [Change("", "timer", False), Change("", "losses", False)]
    changes += [Change("Data", "files", False), Change("Data", "epoch", False)]
    assert [code.expects(each) for each in changes] == [True, False, True, False]
