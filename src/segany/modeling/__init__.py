"""Tensors only: encoders, prompt encoder, mask decoder, presets, checkpoints. Every forward trains."""
