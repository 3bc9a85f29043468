"""Using an exported network: recordings and streams of speech to text, without TensorFlow."""
