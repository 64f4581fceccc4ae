"""Encoders as ONNX files: how one is made, and how it reads without torch and transformers."""
