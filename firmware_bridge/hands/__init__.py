"""Prosthetic hands, one file each. `HANDS` is the list the command line shows."""
