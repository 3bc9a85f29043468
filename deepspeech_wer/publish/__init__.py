"""The built site -> the web root, over SFTP. A visitor sees the site before or the site after, never a mixture.

The package: `api` (what the rest of the program calls), `report` (what it is told), `publisher` (a publish from first
to last), `site` and `plan` (what is to be done; pure but for reading the site), `server`, `look`, `lock` and
`carry_out` (doing it), `read_back` (what visitors get), `pipeline`, `remote` and `new_file` (the protocol),
`dial`, `transport`, `known_hosts` and `connection` (who is at the other end), `libraries` (paramiko and pysftp, as they
are needed here), `background` (work that nobody waits for at the end).
"""
