"""Other spellings of the same predictor and generator."""
