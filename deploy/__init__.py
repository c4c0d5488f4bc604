"""Ways to deploy the service."""
