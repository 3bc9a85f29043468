"""The exit codes of every command."""

DONE = 0  # also: nothing to do, or another tick is running
TROUBLE = 1  # an expected failure, reported in one line
USAGE = 2  # unusable settings or command line
BUG = 3  # reported with its traceback
FAILED = 4  # done, but a merge or the publishing failed, or a merge is now known to make it worse
SIGNAL = 128  # plus the number of the signal that ended the process
