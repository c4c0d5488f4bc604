"""Generated from the .proto files here by `make proto`; not to be edited."""
