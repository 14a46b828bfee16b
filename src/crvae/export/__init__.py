"""Models that leave: a folder with weights, ONNX graphs and a card, on the disk or on the hub."""
