"""One merge's run, from its order to the archive: begun, attempted, archived; one by one or several side by side."""
