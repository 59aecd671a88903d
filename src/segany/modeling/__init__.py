"""Tensors only: encoders, prompt encoder, two-way transformer, mask decoder, presets, checkpoints. Every forward trains."""
