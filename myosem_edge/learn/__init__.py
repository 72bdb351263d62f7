"""The training side: data sets, text encoder, model, losses, training, evaluation. torch lives here alone."""
