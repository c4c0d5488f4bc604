"""The published models: found, mirrored, watched, loaded and swapped."""
