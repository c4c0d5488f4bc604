"""From data to a published model: train, evaluate, calibrate, export, verify, publish. Serving never imports it."""
