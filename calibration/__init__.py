"""On-device calibration: prompted sessions, quality verdicts, closed-form heads, ring alignment, profile store."""
