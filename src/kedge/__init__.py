"""Kedge: an inference server for ONNX models that watches what it serves."""

__version__ = "0.1.0"
