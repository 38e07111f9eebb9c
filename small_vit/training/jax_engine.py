"""The epoch engine for JAX: the training set on the device, many steps in one compiled call."""

import time
from concurrent.futures import ThreadPoolExecutor

import jax
import keras
import numpy as np
from jax import lax

from small_vit import hosts
from small_vit.training.engine import Engine

# Short enough for a progress bar. Long enough for many steps on a CPU, where each call allocates
# its memory again.
SECONDS_PER_CALL = 10.0


RESIDENT_BYTES = 2**29
"""If the training images take more than this, they are sent to the device part by part."""


LOAD_BYTES = 64 * 2**20
"""Size of a part. The next part is read while the current one is trained on."""


class JaxEngine(Engine):
    """Trains many steps per call, without leaving the device between them.

    The images are on the device as uint8: all of them or, beyond `RESIDENT_BYTES`, those of the
    next steps. One compiled call runs many steps in a loop. Each step gathers a batch, augments it,
    and runs forward, backward and update. The state is donated, and metrics stay on the device.
    Callbacks of batches are called once per call, as Keras does with `steps_per_execution`. A step
    is `keras.Model.train_step`.
    """

    def __init__(self, model, batches):
        super().__init__(model, batches)
        resident = batches.split.nbytes <= RESIDENT_BYTES
        everything = slice(None)
        self._resident = _on_device(batches.split, everything) if resident else None
        self._run_steps = jax.jit(self._steps, donate_argnums=0, out_shardings=_state_sharding())
        self._steps_per_call = 1

    def _run_epoch(self, initial_step, callbacks):
        step = initial_step
        for examples, rows, steps in self._loads(initial_step):
            first = 0
            while first < steps:
                last = min(first + self._steps_per_call, steps)
                self._call(examples, rows, first, last, step + first, callbacks)
                if self.model.stop_training:
                    return
                first = last
            step += steps

    def _loads(self, initial_step):
        """Yield examples on the device, each batch as row numbers, and the number of batches."""
        batch_size = self.batches.batch_size
        order = self.batches.order[initial_step * batch_size :]
        full = len(order) // batch_size * batch_size
        for rows in (order[:full].reshape(-1, batch_size), order[full:].reshape(1, -1)):
            if not rows.size:
                continue
            if self._resident:
                yield self._resident, _shared(rows), len(rows)
                continue
            for images, labels, steps in _one_ahead(_read(self.batches.split, rows)):
                new_rows = np.arange(len(labels)).reshape(-1, rows.shape[1])
                yield (_whole(images), _whole(labels)), _shared(new_rows), steps

    def _call(self, examples, rows, first, last, step, callbacks):
        """Run the steps on `rows[first:last]`; `step` is the first one's number in the epoch."""
        callbacks.on_train_batch_begin(step)
        started = time.perf_counter()
        variables = self._variables()
        state = keras.tree.map_structure(lambda variable: variable.value, variables)
        state = self._run_steps(state, *examples, rows, first, last)
        jax.block_until_ready(state)
        keras.tree.map_structure(lambda variable, value: variable.assign(value), variables, state)
        seconds_per_step = (time.perf_counter() - started) / (last - first)
        steps_per_call = max(1, round(SECONDS_PER_CALL / seconds_per_step))
        # Each host has its own clock, and all must make the same calls.
        self._steps_per_call = hosts.from_first(steps_per_call)
        callbacks.on_train_batch_end(step + last - first - 1)

    def _variables(self):
        """All variables, in the order of the state that `keras.Model.train_step` takes on JAX."""
        model = self.model
        return (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )

    def _steps(self, state, images, labels, rows, first, last):
        def step(index, state):
            batch = rows[index]
            targets = jax.nn.one_hot(labels[batch], self.batches.num_classes)
            return self.model.train_step(state, (images[batch], targets))[1]

        # Unlike a scan, one compiled program of this loop serves calls of any length.
        return lax.fori_loop(first, last, step, state)


def _read(split, rows):
    """Yield images, labels and the number of rows of `rows` in parts of `LOAD_BYTES`."""
    row_bytes = rows.shape[1] * split.nbytes // len(split)
    steps = min(max(1, LOAD_BYTES // row_bytes), len(rows))
    for first in range(0, len(rows), steps):
        part = rows[first : first + steps]
        # The last part is filled up to the size of the others: one compiled program serves all.
        chosen = np.resize(part, steps * rows.shape[1])
        yield split.read(chosen), split.labels[chosen], len(part)


def _one_ahead(items):
    """Yield `items`, while a thread makes the next one."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _on_device(split, rows):
    """The images and labels of some rows of `split`, all of them on every device."""
    return _whole(split.read(rows)), _whole(split.labels[rows])


def _whole(array):
    return _place(array, (None,) * array.ndim)


def _shared(rows):
    """The order of the examples, `(steps, batch)`, each batch shared by the devices."""
    return _place(rows, (None, "batch"))


def _place(array, axes):
    distribution = keras.distribution.distribution()
    if distribution is None:
        return jax.device_put(array)
    layout = keras.distribution.TensorLayout(axes, distribution.device_mesh)
    return keras.distribution.distribute_tensor(array, layout)


def _state_sharding():
    distribution = keras.distribution.distribution()
    if distribution is None:
        return None
    mesh = distribution.device_mesh.backend_mesh
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
