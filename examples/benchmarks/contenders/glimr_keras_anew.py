"""glimr_keras with one setting changed: what Keras compiles is compiled anew for each training."""

from contenders import glimr_keras


def run(workload, trials):
    glimr_keras.run(workload, trials, reuse_graphs=False)
