"""The teacher and how it learns: encoder, losses, batches, training in one process or several, the checkpoint."""
