"""Saves and loads the quantization of a layer's sublayers by `model.quantize`."""

import keras

# Constructor arguments of Keras's Dense and EinsumDense that quantization sets.
_ARGUMENTS = ("dtype", "quantization_config", "gptq_unpacked_column_size")


def quantization_of(sublayers):
    """Return the constructor arguments that quantization has set, ready for a config.

    Args:
        sublayers: Dict of built `keras.layers.Dense` or `EinsumDense` by name.

    Returns:
        Dict by name; sublayers that are not quantized are left out.
    """
    configs = {
        name: sublayer.get_config()
        for name, sublayer in sublayers.items()
        if sublayer.quantization_mode is not None
    }
    return {
        name: {argument: config[argument] for argument in _ARGUMENTS if argument in config}
        for name, config in configs.items()
    }


def quantized_arguments(quantization, name):
    """Return the constructor arguments of a sublayer, from the dict of `quantization_of`."""
    return {
        argument: keras.saving.deserialize_keras_object(value)
        for argument, value in quantization.get(name, {}).items()
    }
