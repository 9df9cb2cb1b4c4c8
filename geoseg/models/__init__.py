"""Networks, their receptive field, and the model file."""
