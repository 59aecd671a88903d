"""The data engine's rules: stages, a task's life, the store, quality, snapshots, releases. It never trains."""
