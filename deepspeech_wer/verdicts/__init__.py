"""What the runs say about the merges: measured, judged, explained. Pure: values in, values out."""
