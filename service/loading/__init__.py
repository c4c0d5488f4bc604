"""From a folder to a model that is verified, warmed up and ready."""
