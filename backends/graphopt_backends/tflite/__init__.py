"""ONNX to LiteRT's flatbuffer, written directly: no TensorFlow, channels last inside, ONNX names outside."""
