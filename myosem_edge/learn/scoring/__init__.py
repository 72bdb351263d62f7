"""What a checkpoint is worth on people: retrieval, calibration after seconds, other days, whole streams."""
