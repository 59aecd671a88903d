"""Photos to model input and back: decoding, resizing, normalising, training views."""
