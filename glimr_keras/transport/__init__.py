"""Transfer objects, large arrays, the script's surroundings, and warnings between the script's
process and its workers. Runs in driver and worker.

`serialization` pickles what is sent, and `surroundings` describes the process that workers imitate.
`sayings` collects the workers' warnings.

Decisions:

- Data is put into shared memory once (`serialization`). Everything sent to workers is pickled
  without its large arrays. On Ray, each content is put into shared memory once, and found again by
  comparing bytes (`ray_object_store`). So a changed array is not mistaken for the old one.

- Arrays in shared memory become tensors without a copy (`shared_arrays`). In the worker they are
  NumPy arrays, and TensorFlow's tensors use the same memory. Otherwise, Keras on TensorFlow would
  copy the arrays in each trial.

- `tf.data` pipelines are sent as their graphs. Symbolic tensors are sent with everything they
  connect, as one model. So layers that are shared in the script are also shared in the worker.

- Keras objects are sent as a configuration, one array of all weights, and the rest. The
  configuration holds the script's classes and functions themselves instead of their names
  (`keras_configs`). Keras' own pickle has only names, which a worker cannot find. The rest is what
  a configuration omits, such as attributes that were set later (`keras_attributes`).

- A Keras object with user-defined parts is rebuilt in the driver before any trial, and compared. So
  an object that cannot be rebuilt is named there. Users do not see errors about missing modules
  instead.

- A trial begins with the script's surroundings (`surroundings`), as they are when `search()` is
  called. They are the command line, working directory, module path, environment, locale and warning
  filters. Settings of Keras and of the libraries below it are included
  (`training.library_settings`). They are applied before each trial, and a trial's additions are
  removed. So no trial sees a setting of an earlier one. Additions by an import stay, as the module
  does (`imports`). Paths in the script's folder are translated for another machine, which reports
  what it lacks.

- Variables of the user's modules are sent too (`module_state`), since a worker imports these
  modules again. Each is pickled by itself, up to 64 KiB (`small_values`). A cache that a process
  has filled is left alone.

- Warnings are sent beside reports (`sayings`). The user's filters apply in the worker, where a
  warning is raised: if they turn it into an error, the trial fails. Warnings that pass the filters
  are repeated in the driver, once for all trials.

- Warnings are repeated without unpickling any of the script's objects. Unpickling in the driver
  would change the script's own classes. Log records are collected without a logging handler, so
  logging in a worker works as in the script.
"""
