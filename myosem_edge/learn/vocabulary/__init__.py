"""Open vocabulary, measured. Only its command may know it: whoever learns from paraphrases cannot be judged by them."""
