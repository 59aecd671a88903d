"""The data engine over HTTP: people log in, claim, annotate, review, clear, watch; all rules are the store's."""
