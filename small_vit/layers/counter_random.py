"""Random numbers as a hash of a key and a position: cheap, stateless, the same on every backend.

A hash of the position costs a few integer operations, which a compiler fuses with the code that
uses them. Keras's own generators, threefry and Philox, are slow on a CPU. The numbers are for
dropout and augmentation, not for cryptography.
"""

import keras
import numpy as np
from keras import ops


def make_key(seed, *counters):
    """Return the key of a stream of numbers.

    Args:
        seed, *counters: Python integers or scalar tensors. Counters select a stream of the seed,
            for example by the step and the number of the draw.

    Returns:
        Two int32 scalars.
    """
    first = _mix(_scalar(seed))
    second = _mix(first ^ _GOLDEN_RATIO)
    for counter in counters:
        first = _mix(first + _scalar(counter), second)
        second = _mix(second ^ first)
    return first, second


def next_key(seed_generator):
    """Return the key of the next draw of a `keras.random.SeedGenerator`, which counts the draws."""
    seed, counter = ops.unstack(seed_generator.next(), num=2)
    return make_key(seed, counter, *_replica())


def random_bits(key, shape):
    """Return 32 random bits for each position.

    Args:
        key: From `make_key`.
        shape: Tuple of ints, or of scalar tensors for sizes not yet known. Positions repeat after
            2**32.

    Returns:
        int32 of `shape`, uniform over all values.
    """
    size = 1
    for side in shape:
        size = size * side
    position = ops.reshape(ops.arange(size, dtype="int32"), shape)
    return _mix(position + key[0], key[1])


def uniform(key, shape, low=0.0, high=1.0):
    """Return float32 of `shape`, uniform from `low` to below `high`, in steps of 2**-24.

    Args:
        key, shape: As for `random_bits`.
        low, high: The range.
    """
    unit = ops.cast(_shift_right(random_bits(key, shape), 8), "float32") * 2.0**-24
    return low + (high - low) * unit


def bernoulli(key, shape, probability):
    """Return booleans of `shape`, true with `probability`.

    Args:
        key, shape: As for `random_bits`.
        probability: Float from 0 to below 1, rounded to a multiple of 2**-32.
    """
    return random_bits(key, shape) < round(probability * 2**32) - 2**31


def _replica():
    """This device's number under `tf.distribute`, where each device counts its own draws from 0.

    Empty elsewhere: under `keras.distribution` the devices hold different positions of one batch.
    """
    if keras.backend.backend() != "tensorflow":
        return ()
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return ()
    return (context.replica_id_in_sync_group,)


def _mix(x, key=0):
    """Hash int32 to int32, a permutation for each `key`.

    It is C. Wellons' `triple32` (github.com/skeeto/hash-prospector). His `lowbias32` is cheaper,
    but with it neighbouring positions are correlated. The key is applied between the rounds, so the
    streams of two keys are not shifted copies of each other.
    """
    x = (x ^ _shift_right(x, 17)) * _FACTORS[0] ^ key
    x = (x ^ _shift_right(x, 11)) * _FACTORS[1]
    x = (x ^ _shift_right(x, 15)) * _FACTORS[2]
    return x ^ _shift_right(x, 14)


def _shift_right(x, bits):
    """Shift in zeros, on int32: the only type that wraps around in products on every backend."""
    return ops.right_shift(x, bits) & (2 ** (32 - bits) - 1)


def _scalar(number):
    """Convert to int32, wrapping around: seeds go up to 2**32."""
    number = _int32(number) if isinstance(number, int) else number
    return ops.cast(ops.convert_to_tensor(number), "int32")


def _int32(bits):
    return int(np.uint32(bits).astype(np.int32))


_FACTORS = tuple(map(_int32, (0xED5AD4BB, 0xAC4C1B51, 0x31848BAB)))


_GOLDEN_RATIO = _int32(0x9E3779B9)
