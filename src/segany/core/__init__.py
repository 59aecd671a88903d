"""What every room stands on: errors, optional imports, files, identity, seeds, devices."""
