"""What a call ends with."""

DONE = 0  # also: nothing to do, or another tick is at work
TROUBLE = 1  # expected trouble, told in one line
USAGE = 2  # the settings or the command line cannot be used
BUG = 3  # told with its traceback
FAILED = 4  # done, but a merge failed or the publishing did
SIGNAL = 128  # and the number of the signal that ended it
