"""The network: its sizes, transforms, predictor and exact priors, and the boxes they work on. No bytes."""
