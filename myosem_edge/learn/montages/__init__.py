"""Other montages made of recorded ones, and what a checkpoint is worth on them."""
