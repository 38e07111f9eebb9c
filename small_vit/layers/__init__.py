"""The layers: each is a plain Keras layer to use in any model, on any backend."""

from small_vit.layers.class_token_pooling import ClassTokenPooling
from small_vit.layers.fast_dropout import FastDropout
from small_vit.layers.multi_head_attention_lsa import MultiHeadAttentionLSA
from small_vit.layers.patch_encoder import PatchEncoder
from small_vit.layers.resize import Resize
from small_vit.layers.sequence_pooling import SequencePooling
from small_vit.layers.shifted_patch_tokenization import ShiftedPatchTokenization
from small_vit.layers.stochastic_depth import StochasticDepth
from small_vit.layers.transformer_block import TransformerBlock

__all__ = [
    "ClassTokenPooling",
    "FastDropout",
    "MultiHeadAttentionLSA",
    "PatchEncoder",
    "Resize",
    "SequencePooling",
    "ShiftedPatchTokenization",
    "StochasticDepth",
    "TransformerBlock",
]
