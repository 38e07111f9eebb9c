"""How a layer keeps what `model.quantize` has made of its sublayers, so that it saves and loads."""

import keras

# Constructor arguments of Keras's Dense and EinsumDense that quantization sets.
_ARGUMENTS = ("dtype", "quantization_config", "gptq_unpacked_column_size")


def quantization_of(sublayers):
    """Return the constructor arguments that quantization has changed, ready for a config.

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
    """Return the constructor arguments of the sublayer `name`, by what `quantization_of` gave."""
    return {
        argument: keras.saving.deserialize_keras_object(value)
        for argument, value in quantization.get(name, {}).items()
    }
