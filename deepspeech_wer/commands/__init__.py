"""What is typed by hand."""
