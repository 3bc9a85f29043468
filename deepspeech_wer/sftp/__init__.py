"""SFTP sessions: connections, files, many requests in flight."""
