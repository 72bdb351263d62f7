"""myosem-edge: language-aligned EMG decoding for prosthetic hands."""

__version__ = "0.1.0"
