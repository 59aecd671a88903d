"""Frames, boxes, point grids, crop layers: plain arithmetic, no tensors library."""
