"""Run one execution of one configuration: data, build, fit, reports and score. Runs in the worker,
or in the driver for inline trials; before a search, also discovery and a dry run.

`run_trial` is the entry point. It gets the search's `TrialContext` (`context`) and an
`ExecutionSpec` (`messages`), and sends a `Report` of each epoch. `TrialCallback` (`trial_callback`)
reports and saves. `discovery` results in a `Probe`.

Decisions:

- The space is known before any trial (`discovery`). Models are built for it in one of the workers
  that then run the trials, never in the driver unless the search is inline. Each value is changed
  to the others that could make a difference, so that every branch of the user's code is taken.
  These are all options, the ends of a range, and values between the ends if the ends make a
  difference. Ten seconds and 200 builds limit all of this. In an inline search, state that the code
  keeps is restored afterwards (`code.put_back`), so the first trial sees the script's state.

- One batch is evaluated before any trial (`dry_batch`), in the user's batch size and as Keras' data
  adapters make it. So the names that Keras will log are known. A misspelled objective or data that
  do not fit cost seconds only. If the model can be built but the batch fails, the user gets a
  remark, and the first trial decides. The metric's own direction decides whether more is better.

- A custom `fit` is called before any trial with a model that does not train (`own_fit`). The call
  runs until `fit` looks at a result, and for three seconds at most. If `fit` would train on, the
  first trial shows which hyperparameters it asks for.

- The training loop of an execution is chosen once (`trial_loop`). It is Keras' own `fit`, a
  user-defined `HyperModel.fit` or `HyperModel.run`, or a tuner's `run_trial`
  (`tuners.tuner_loop`). All four have the same interface, and no other code asks which of them
  trains. This room does not know tuners.

- An epoch is reported when the next one begins, and the last one together with the outcome. So a
  scheduler gets exactly one report per epoch. An extra final report would confuse its rungs.

- Kept predictions leave the training unchanged (`kept_predictions`). They are made when a
  validation begins, with its weights, and written before the epoch is reported. Random generators
  and the model's non-trainable state are restored afterwards. Batches of a loader are read once,
  with their labels, which must be the same in each epoch.

- The score belongs to the checkpoint. If a custom `fit` returns its own score, the final weights
  are saved with it. Otherwise, score and weights belong to the best epoch. A returned `History` is
  the score. If Keras' `fit` was called several times and the last `History` is returned, the best
  weights of the last call are kept. If the `History` was changed, the best reported weights are
  kept.

- A common or last epoch is chosen when a trial ends (`trials.score_epochs`), from the reported
  metrics. By then, only the weights of each execution's own best epoch exist. Tables name that
  epoch as `weights_epoch`. Schedulers see each execution by itself.

- Return values of KerasTuner's methods are interpreted in one place (`returned_metrics`), so each
  has one meaning. A user-defined loop may also report steps to the oracle with `update_trial`. They
  are reported as epochs, and `trial.metrics` then has all of them.

- Optimizer and metrics are built before training, if Keras' own `fit` trains. Otherwise Keras on
  TensorFlow creates their variables in the first traced step, and traces that step twice.

- Memory does not grow with the number of models. TensorFlow keeps each traced custom gradient for
  the lifetime of the process, and with it the graph of the whole training step. Keras' optimizers
  have such a gradient in every step, so each model would leave 1.4 to 5 MB. After each trial,
  gradients that no function uses any more are dropped (`tf_gradients`).

- Callbacks of experiment trackers log to a separate run for each execution (`tracker_callbacks`).
  The driver records where the script logs to. The run begins with the training, when the
  hyperparameters are known. It ends with the execution, however that ends.

- Equal graphs are traced and compiled once in a worker (`held_graphs`), if Keras' own `fit` trains.
  The results are the same, to the bit, as if each trial traced its own. On TensorFlow, the
  runtime's function is held and called with the variables of the training model (`tf_graphs`). On
  JAX, the jitted steps are held, which receive all state anyway (`jax_graphs`).

- No model is held with a graph. So whatever the user's code keeps of a model, or sets on it,
  belongs to that model only. Holding a model and giving it the new one's state was tried first.
  But then each callback and each use of `self.model` had to be proven harmless.

- Models are equal if a walk over all their attributes (`fingerprint`) finds differences only in
  the values of variables. Configurations are not compared, since they omit things. Every visited
  object must be of an unmodified Keras class. A single user-defined function, class or object
  prevents sharing, since a trace may read anything. A user's callback may change a model before
  Keras traces it. With such a callback, the model is compared again when a step is first called.

- TensorFlow's kernels are kept with a held graph (`tf_kernels`), although sessions are cleared and
  seeds are set, as long as no seed is set twice. On JAX, the workers of a machine share their
  compiled code on disk, also for models with user-defined code.

- With `reuse_graphs`, TensorFlow pipelines over arrays are not autotuned (`tf_pipelines`).
  Otherwise, the destructor of an iterator waits for the autotuning thread, for up to a third of a
  second after each training.
"""
