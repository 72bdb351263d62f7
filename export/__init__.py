"""From a trained teacher to one signed bundle: distil, quantise, measure, assemble."""
