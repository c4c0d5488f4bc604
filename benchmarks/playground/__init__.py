"""The rate at which the playground shows new answers while a slider moves."""
