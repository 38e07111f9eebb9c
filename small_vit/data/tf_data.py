"""tf.data without its autotuning."""


def without_autotuning(dataset):
    """Return a `tf.data.Dataset` that prefetches by a fixed number.

    With autotuning, an iterator waits at its end for the tuning thread. That thread sleeps for 10,
    20, 40, … ms, up to a minute, and sometimes misses the end. `fit` and `predict` on arrays or on
    a `PyDataset` then wait for it.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)
