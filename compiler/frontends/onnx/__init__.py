"""The ONNX importer: one registry row an operator, grouped in files by family."""
