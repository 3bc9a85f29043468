"""Where settings come from, how they are checked, and what of the environment others inherit."""
