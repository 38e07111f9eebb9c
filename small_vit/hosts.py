"""Several hosts that train one model: the same command, started on each with three variables set.

Each host computes its share of every batch. Everything else is the same on all hosts. The first
host writes the files and prints.
"""

import os

import keras
import numpy as np

from small_vit.errors import InputError

PROCESSES = "KERAS_DISTRIBUTION_NUM_PROCESSES"
PROCESS = "KERAS_DISTRIBUTION_PROCESS_ID"
VARIABLES = ("KERAS_DISTRIBUTION_JOB_ADDRESSES", PROCESSES, PROCESS)


def connect():
    """Connect to the hosts that the environment names, if any, before any device is used.

    Raises:
        InputError: if a variable is missing or the backend trains on one host only.
    """
    given = [name for name in VARIABLES if name in os.environ]
    if not given:
        return
    if keras.backend.backend() != "jax":
        raise InputError(
            f"Several hosts train one model on JAX only. Add --backend jax, or unset {given}."
        )
    if len(given) < len(VARIABLES):
        raise InputError(f"Several hosts need all of {list(VARIABLES)}. Set are: {given}.")
    import jax

    if not jax.distributed.is_initialized():
        keras.distribution.initialize()


def several():
    """Return whether other hosts train the model too."""
    return int(os.environ.get(PROCESSES, 1)) > 1


def is_first():
    """Return whether this host writes the files and prints: the first, or the only one."""
    return int(os.environ.get(PROCESS, 0)) == 0


def from_first(number):
    """Return the first host's `number`, an int, on every host. Every host must call this."""
    if not several():
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(number))


def arrays_from_first(arrays):
    """Return the first host's list of arrays on every host. Every host must call this.

    Args:
        arrays: List of NumPy arrays; those of other hosts count for their shapes only.
    """
    if not several():
        return arrays
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(arrays)


def predict(model, images, batch_size):
    """Return on every host what `model.predict` returns on one.

    Args:
        model: `keras.Model`.
        images: All images, the same on every host; their number is a multiple of `batch_size`.
        batch_size: Images per batch, over all hosts together.
    """
    import jax
    from jax.experimental import multihost_utils

    if model.predict_function is None:
        model.make_predict_function()
        shared_step = model.predict_function

        def gathering_step(state, batches):
            outputs, state = shared_step(state, batches)
            return multihost_utils.process_allgather(outputs, tiled=True), state

        model.predict_function = gathering_step
    # Each host passes Keras its share of a batch, and gets the outputs of only that share.
    hosts = jax.process_count()
    shares = images.reshape(-1, hosts, batch_size // hosts, *images.shape[1:])
    share = np.concatenate(shares[:, jax.process_index()])
    return model.predict(share, batch_size=batch_size // hosts, verbose=0)
