"""The stored project: journal, checkpoints, training states, directories and URIs. Written by
driver and workers; read anywhere. Knows `trials` and `space` only.

The driver records every trial in the journal (`journal`), which `replay` turns into a `Project`.
Workers write weights (`checkpoints`), training states (`training_states`) and predictions
(`predictions`) into the executions' folders.

Decisions:

- The journal is the single source of truth. It is one JSON-lines file that is only appended to.
  Results, best models and resuming read it. Ray's own snapshots go to a temporary directory and
  are never read.

- One search at a time writes to a project. The journal's file lock ensures this, and ends with the
  process. Windows has no `flock`, so there a byte behind the journal's end is locked with `msvcrt`,
  which needs no dependency.

- Stored files are not trusted, since a project may come from someone else. Nothing in it is
  unpickled. Each record is checked against a table of types, ids and ranges before it is replayed
  (`records`). HDF5 files are checked before Keras reads them (`weights_file`). So no other code
  needs to expect impossible values.

- The digest is a cache, not a record. A journal of 100,000 trials takes seconds to read, but
  compacting it by a rewrite could lose it. So a second file (`digest`) has about one line per trial
  instead of many. A search writes it under the journal's lock, once much of the journal is in no
  digest, and renames it into place. It is valid only if the journal starts with the
  bytes whose hash it has, and if this version of glimr_keras wrote it. Its content must also be
  something that this many records can result in. Otherwise it is ignored, and the journal is read.
  The hash protects against damage and change, not against forgery: whoever can forge a digest can
  also write the journal.

- A digest restores exactly what the journal does, to the bit. Tests check this at every cut of a
  journal. A change to the results of a replay (`replay`) must therefore change the digest's
  `_VERSION`; a test enforces this.

- A checkpoint has the weights of the best epoch without the optimizer's state. For Adam, that is a
  third of the size. It is written beside the old one and renamed, and has a digest. So damage is
  detected, and damaged weights are never loaded. The public callback `TuneReportCheckpoint` must be
  able to resume, so it includes the optimizer.

- Predictions are kept beside the checkpoint, if `keep_predictions` is set. Those of all trainings
  are kept, whatever `keep_top_k` removes. The file (`predictions`) has one record of fixed size per
  epoch, whose digest is valid only with this file's head. So incomplete records and records of an
  earlier attempt are invalid. A resumed training cuts off the epochs after its state. A promoted
  trial has only the epochs that it trained itself; its parent has the earlier ones.

- A training resumes from a training state. The state has the weights, the optimizer, the epoch and
  its metrics, and a link to the best weights at that time. The link is needed because a best epoch
  after the state is void. All earlier epochs are in the journal before a state is written. Each
  state costs as much as a checkpoint with the optimizer. So states are written rarely
  (`state_interval_s`), and removed when the training ends.

- A training state covers everything that can be reached from the model (`model_state`). This
  includes each optimizer of a user-defined `train_step`, seeds, schedules and averages. Keras saves
  one optimizer only, so further ones used to restart when a training was resumed. Values of
  variables that the model lacks at first are assigned when training begins. Those that it still
  lacks then are skipped with a warning.

- What cannot be written did not happen. If the disk is full, the search ends, and a partial record
  is cut off. Trainings that could not be stored count as unfinished, as if they had been killed.

- A project at a URI is a local copy that is sent there (`remote_mirror`). Object stores cannot
  append, and a search must not wait for one. The content at the URI is consistent at any time and
  at most seconds old, and suffices to resume on another machine. Best weights are therefore sent
  before the journal that refers to them, and states after the journal that has their epochs.

- Two searches never mix their records at a URI. Before anything is sent, the remote journal must be
  the beginning of the local one. Otherwise, the search that writes second ends with an error and
  keeps its local copy.

- A search claims a project at a URI (`remote_claim`). It rewrites the claim while it runs, so a
  second search ends before it has written anything. A search that resumes elsewhere after a kill
  waits a minute at most. Clocks of different machines are never compared. Without conditional
  writes, the claim is no lock. If two searches start within a moment, the check of the journal
  still separates them.

- `overwrite=True` removes only files of glimr_keras. KerasTuner deletes the whole directory; here,
  other files stay.

- A KerasTuner project is read as a `Project` (`keras_tuner_files`). So tables, summaries, best
  models and warm starts need no code of their own for it. It is never written to. Its files do not
  name the objective, so the metric that matches the scores is taken.
"""
