"""Boards: one profile per board, what is common to all of them, and the service that runs on them."""
