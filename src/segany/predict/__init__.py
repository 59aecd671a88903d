"""Model, image and prompts → masks."""
