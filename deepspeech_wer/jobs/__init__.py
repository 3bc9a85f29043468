"""One training job: started, supervised, judged."""
