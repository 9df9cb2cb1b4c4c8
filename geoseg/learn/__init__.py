"""Learning: which windows, changed how, weighed how, and how well."""
