"""From input to prediction: a session runs a bundle's artifact, the loop feeds it, `check` and `infer` are programs."""
