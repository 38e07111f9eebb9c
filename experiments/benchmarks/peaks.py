"""What the machine can do at most, as each framework reaches it: a matrix product and a copy."""

import time

import keras
import numpy as np

from .prepared import Prepared, keras_device

# Doubled until one product takes long enough to time.
SMALLEST_SIDE, LARGEST_SIDE, LONG_ENOUGH = 1024, 16384, 0.05
COPY_BYTES = 2**29  # more than any cache holds


def prepare(workload):
    """Make ready to measure the peaks of the framework of this process.

    Returns:
        `Prepared`, whose measurement is a dict: "matmul" in operations a second, "copy" in bytes
        read and written a second, each the best of three.
    """
    device, _ = keras_device()
    make_product, make_copy = _FRAMEWORKS[keras.backend.backend()]
    generator = np.random.default_rng(0)
    side = SMALLEST_SIDE
    while True:
        # Random numbers: products of zeros can run faster than real ones.
        factor = generator.standard_normal((side, side), dtype="float32")
        multiply = make_product(factor, workload.precision)
        if _seconds(multiply) >= LONG_ENOUGH or side == LARGEST_SIDE:
            break
        side *= 2
    copy = make_copy(generator.standard_normal(COPY_BYTES // 4, dtype="float32"))

    def measure():
        return {"matmul": 2 * side**3 / _seconds(multiply), "copy": 2 * COPY_BYTES / _seconds(copy)}

    return Prepared(measure, device)


def _seconds(function):
    function()  # compiles

    def time_once():
        started = time.perf_counter()
        function()
        return time.perf_counter() - started

    return min(time_once() for _ in range(3))


# For each framework a function that makes a product, of a matrix with itself, and one that makes a
# copy, which adds 1 in place, since a fresh result would time the system's page faults. What they
# make waits for the device, on TensorFlow and PyTorch by fetching one number.


def _tensorflow_product(array, dtype):
    import tensorflow as tf

    factor = tf.cast(array, dtype)
    # An argument, since a product of constants would be computed once, at compilation.
    multiply = tf.function(lambda x: tf.matmul(x, x))
    return lambda: multiply(factor)[0, 0].numpy()


def _tensorflow_copy(array):
    import tensorflow as tf

    numbers = tf.Variable(array)
    add = tf.function(lambda: numbers.assign_add(tf.ones_like(numbers)), jit_compile=True)

    def copy():
        add()
        numbers[0].numpy()

    return copy


def _jax_product(array, dtype):
    import jax

    factor = jax.numpy.asarray(array, dtype)
    multiply = jax.jit(lambda x: x @ x)
    return lambda: multiply(factor).block_until_ready()


def _jax_copy(array):
    import jax

    numbers = jax.numpy.asarray(array)
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def copy():
        nonlocal numbers
        numbers = add(numbers).block_until_ready()

    return copy


def _torch_product(array, dtype):
    import torch

    factor = torch.from_numpy(array).to(_torch_device(), getattr(torch, dtype))
    return lambda: (factor @ factor)[0, 0].item()


def _torch_copy(array):
    import torch

    numbers = torch.from_numpy(array).to(_torch_device())
    return lambda: numbers.add_(1)[0].item()


def _torch_device():
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


_FRAMEWORKS = {
    "tensorflow": (_tensorflow_product, _tensorflow_copy),
    "jax": (_jax_product, _jax_copy),
    "torch": (_torch_product, _torch_copy),
}
