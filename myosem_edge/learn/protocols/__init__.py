"""What is run under one name: the rows of the benchmark and the grid of an ablation."""
