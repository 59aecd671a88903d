"""What is kept of masks: checked records, and the files they are written to and read from."""
