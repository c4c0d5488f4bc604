"""The networks that are trained, and the device that they are trained on."""
