"""Recordings as sessions of labelled clips: converted, resampled, cues mended, split into trained on and judged."""
