"""Access to the service over HTTP and gRPC alike: keys, limits, and the table from error to status."""
