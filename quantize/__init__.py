"""int8 for the body of the student: calibration statistics, the integer network, its ONNX form, and what it cost."""
