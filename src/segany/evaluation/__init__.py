"""Numbers: metrics, one module per protocol, reports."""
