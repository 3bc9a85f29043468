"""What importers share: download, unpacking, transcripts, speech synthesis."""
