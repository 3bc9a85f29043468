"""The built site -> the web root, over SFTP. A visitor sees the old site or the new one, never a mixture.

The modules: `publisher` (a publish from start to end: what the rest of the program calls), `report` (what it gives and
gets), `sources` (the local files), `survey` (what is on the server), `plan` (what to change; pure), `upload` (changing
it), `web_root` (an open session), `web_root_lock` (one publisher at a time), `read_back` (what visitors get).
"""
