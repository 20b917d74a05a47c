"""What is needed only while a model is installed: from a folder of transformers to a graph that onnxruntime maps."""
