"""The only walker of datasets on disk."""
