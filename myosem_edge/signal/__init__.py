"""Causal signal processing, one implementation for training and board: montage, filter, frames, features, front."""
