"""The model of a run, compiled, and the engine that trains it."""

from small_vit.data.batches import ShuffledBatches
from small_vit.training.classifier import build_training_model
from small_vit.training.factories import compile_model, make_engine
from small_vit.training.start import initialize


def assemble(config, prepared, tell=None):
    """Return `(TrainingModel, Engine)` of a run.

    Call it in the scope of its strategy and precision.

    Args:
        config: `ExperimentConfig`.
        prepared: `Prepared`.
        tell: Function that is called with each line about initial weights. Default: none.

    Raises:
        InputError: if the initial weights do not fit, or `freeze` names other layers.
    """
    train, num_classes = config.train, prepared.dataset.num_classes
    model = build_training_model(config, prepared.dataset)
    lines = initialize(model.classifier, config, prepared.dataset.class_names, prepared.source)
    if tell is not None:
        for line in lines:
            tell(line)
    batches = ShuffledBatches(
        prepared.train,
        num_classes,
        train.batch_size,
        train.seed,
        prepared.strategy.devices,
        train.passes_per_epoch,
        train.drop_last,
        train.balanced_sampling,
    )
    compile_model(model, train, len(batches), num_classes, prepared.class_weights)
    return model, make_engine(model, batches)
