"""Every object of a photo: sweep clicks over it, keep what is sure and stable, merge."""
