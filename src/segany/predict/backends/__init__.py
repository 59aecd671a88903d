"""Ways to run an image encoder for prediction: same numbers as the plain module, sooner."""
