"""The DeepSpeech job: one training, from audio files to hyper.json. Only this package imports TensorFlow."""
