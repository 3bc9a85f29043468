"""What importers are made with: download, unpacking, transcripts, speech."""
