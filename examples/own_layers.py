"""The layers in a model of your own, trained on scikit-learn's digits: `python own_layers.py`."""

import keras

from small_vit import MultiHeadAttentionLSA, PatchEncoder, ShiftedPatchTokenization
from small_vit.data.registry import load_dataset


def main(epochs=20):
    """Train, and return the accuracy on the test images."""
    digits = load_dataset("digits")
    images = keras.Input(digits.image_shape)
    tokens, _ = ShiftedPatchTokenization(patch_size=2, projection_dim=48)(images)
    tokens = PatchEncoder(num_patches=16, projection_dim=48)(tokens)
    for _ in range(2):
        normed = keras.layers.LayerNormalization()(tokens)
        attended = MultiHeadAttentionLSA(num_heads=4, key_dim=12)(normed, normed)
        tokens = keras.layers.Add()([tokens, attended])
    features = keras.layers.GlobalAveragePooling1D()(tokens)
    model = keras.Model(images, keras.layers.Dense(digits.num_classes)(features))

    model.compile(
        keras.optimizers.AdamW(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    train, test = digits.train, digits.test
    model.fit(train.read(slice(None)), train.labels, batch_size=64, epochs=epochs, verbose=2)
    loss, accuracy = model.evaluate(test.read(slice(None)), test.labels, verbose=0)
    print(f"{accuracy:.1%} of the {len(test)} test images are right (loss {loss:.2f}).")
    return accuracy


if __name__ == "__main__":
    main()
