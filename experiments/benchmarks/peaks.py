"""Peak rates of the machine on each backend: a matrix product and a copy."""

import time

import keras
import numpy as np

LONG_ENOUGH = 0.05  # seconds that a timed product must take
COPY_BYTES = 2**29  # larger than any cache


def prepare(precision):
    """Prepare to measure the peak rates on the Keras backend of this process.

    Args:
        precision: Type of the numbers in the matrix product.

    Returns:
        Function without arguments that returns a dict: "matmul" in operations per second, "copy" in
        bytes read and written per second, each the best of three.
    """
    multiply = _compile(lambda factor: keras.ops.matmul(factor, factor))
    add_one = _compile(lambda numbers: keras.ops.add(numbers, 1))
    generator = np.random.default_rng(0)
    for side in (1024, 2048, 4096, 8192, 16384):
        # Random numbers: products of zeros can be faster.
        factor = keras.ops.cast(generator.standard_normal((side, side), dtype="float32"), precision)
        if _seconds(multiply, factor) >= LONG_ENOUGH:
            break
    numbers = keras.ops.cast(generator.standard_normal(COPY_BYTES // 4, dtype="float32"), "float32")
    return lambda: {
        "matmul": 2 * side**3 / _seconds(multiply, factor),
        "copy": 2 * COPY_BYTES / _seconds(add_one, numbers),
    }


def _compile(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    return function


def _seconds(function, array):
    def time_once():
        started = time.perf_counter()
        keras.ops.convert_to_numpy(function(array)[0])  # waits for the device
        return time.perf_counter() - started

    time_once()  # compiles
    return min(time_once() for _ in range(3))
