"""tf.data without its autotuning."""


def without_autotuning(dataset):
    """Return a `tf.data.Dataset` that prefetches by a fixed number.

    An iterator ends with the thread that tunes it. That thread sleeps for 10, 20, 40, … ms, up to a
    minute, and now and then misses its end: `fit` and `predict` on arrays or on a `PyDataset` then
    wait for it.
    """
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)
