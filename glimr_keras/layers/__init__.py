"""Layers for multiple-instance models, whose inputs are bags. Keras; runs in the worker."""

from glimr_keras.layers.attention import GatedAttentionPooling

__all__ = ["GatedAttentionPooling"]
