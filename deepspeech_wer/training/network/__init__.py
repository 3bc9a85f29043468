"""The network in TensorFlow: its layers, its loss, its optimizer, and the devices that it runs on."""
