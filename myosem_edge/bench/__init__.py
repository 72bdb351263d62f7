"""What a decision costs and how soon it is there, measured on this machine."""
