"""The built site -> the web root, over SFTP. A visitor sees the old site or the new one, never a mixture.

`publisher` is what the rest of the program calls. `report` is what it gives and gets, `sources` the local files,
`survey` what is on the server, `plan` what to change (pure), `upload` changes it, `web_root` is an open session,
`web_root_lock` lets one publish at a time.
"""
