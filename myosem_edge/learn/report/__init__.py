"""Scores as tables, figures and one page that opens without a network."""
