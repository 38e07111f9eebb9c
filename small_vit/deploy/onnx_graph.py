"""Makes the ONNX graph that Keras writes one that runtimes can run, and run fast.

TensorFlow's GELU becomes `Erfc` in the graph, an operator that ONNX does not have. Its layer
normalisation becomes ten operators. Both are replaced by the one operator that ONNX has for each.
"""

import json

import onnx
import onnx_ir as ir
from onnxscript import optimizer, version_converter
from onnxscript.rewriter import pattern, rewrite

OPSET = 20
"""Version of ONNX's operators: the first with `Gelu`."""


def finish_onnx(path, class_names):
    """Rewrite an ONNX file in place: operators that runtimes have, names, metadata.

    Args:
        path: File that `keras.Model.export` has written, of one input and one output.
        class_names: List of str, kept in the metadata as the JSON list `classes`.

    Raises:
        onnx.checker.ValidationError: if an operator is left that ONNX does not have.
    """
    proto = onnx.load(path)
    _drop_weights_from_inputs(proto.graph)
    model = ir.serde.deserialize_model(proto)
    model = rewrite(model, pattern_rewrite_rules=_rules())
    version_converter.convert_version(model, OPSET, fallback=True)
    optimizer.optimize(model)
    model.graph.inputs[0].name = "images"
    model.graph.outputs[0].name = "probabilities"
    model.metadata_props["classes"] = json.dumps(class_names)
    finished = ir.serde.serialize_model(model)
    onnx.checker.check_model(finished)
    onnx.save(finished, path)


def _drop_weights_from_inputs(graph):
    """Weights that are inputs too could be replaced in a call, so a runtime could not fold them."""
    weights = {weight.name for weight in graph.initializer}
    images = [each for each in graph.input if each.name not in weights]
    del graph.input[:]
    graph.input.extend(images)


def _rules():
    rules = [pattern.RewriteRule(_erfc_gelu, _gelu)]
    for mean in (_mean_by_pooling, _mean_by_reduction):
        rules.append(pattern.RewriteRule(_layer_norm_of(mean), _layer_norm))
    return [each for rule in rules for each in rule.commute()]


def _erfc_gelu(op, x, half, root):
    return op.Mul(op.Mul(half, x), op.Erfc(op.Mul(op.Neg(x), root)))


def _gelu(op, x, half, root):
    return op.Gelu(x)


def _layer_norm_of(mean_of):
    def layer_norm(op, x, epsilon, gamma, beta):
        mean = mean_of(op, x)
        difference = op.Sub(x, mean)
        variance = mean_of(op, op.Mul(difference, difference))
        scale = op.Mul(op.Reciprocal(op.Sqrt(op.Add(variance, epsilon))), gamma)
        return op.Add(op.Mul(x, scale), op.Add(op.Mul(op.Neg(mean), scale), beta))

    return layer_norm


def _mean_by_pooling(op, x):
    return op.GlobalAveragePool(x)  # of (batch, tokens, dim), over dim


def _mean_by_reduction(op, x):
    return op.ReduceMean(x, _allow_other_inputs=True, _allow_other_attributes=True)


def _layer_norm(op, x, epsilon, gamma, beta):
    return op.LayerNormalization(
        x,
        _flat(op, gamma),
        _flat(op, beta),
        axis=-1,
        epsilon=float(epsilon.const_value.numpy().reshape(())),
    )


def _flat(op, weight):
    values = weight.const_value.numpy().reshape(-1)
    return op.initializer(ir.tensor(values), name=f"{weight.name}_flat")


def quantize_onnx(path):
    """Quantize the matrix products of an ONNX file, in place.

    Weights are int8, with a range for each column. Activations are quantized in each call.

    Args:
        path: From `finish_onnx`.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(path, path, skip_symbolic_shape=True)
    quantize_dynamic(
        path,
        path,
        per_channel=True,
        op_types_to_quantize=["MatMul", "Gemm"],
        weight_type=QuantType.QInt8,
    )
