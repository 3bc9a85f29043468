"""The DeepSpeech job: one training, from audio files to hyper.json. The only importer of TensorFlow."""
