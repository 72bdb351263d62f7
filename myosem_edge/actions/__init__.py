"""What hands do: the catalogue of actions, and the table of their descriptions as vectors."""
