"""Training: windows sampled from a dataset, the loss, and a run that can be interrupted and resumed."""
