"""The addresses of the service, one module per kind; each translates, and the parts behind it decide."""
