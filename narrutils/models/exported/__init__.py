"""Encoders as ONNX files: how one is made, and how it reads without torch and transformers.

onnx and onnxruntime, which come with the extra `export` alone, are imported at once here: whoever makes
or reads such a file imports these modules late.
"""
