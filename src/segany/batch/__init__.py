"""Many images: which ones, what is done already, and running the rest."""
