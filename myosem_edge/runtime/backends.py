"""The encoder backends by name, apart from what they need: a wrong option must not wait for an encoder."""

BACKENDS = ("onnxruntime", "litert", "reference")  # the first one is the default
