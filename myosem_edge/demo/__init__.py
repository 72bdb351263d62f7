"""The whole chain on one computer: a recorded person behind an emulated armband, an emulated hand, and a report."""
