"""SNPE / QNN: Qualcomm's HTP through onnxruntime-qnn, a `.dlc` file out."""
