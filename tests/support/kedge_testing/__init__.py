"""What several test trees share: small ONNX models, and bundles around them."""
