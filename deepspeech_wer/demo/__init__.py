"""The whole cycle on this machine: sample repository, speech, training, SFTP server, published page.

All files are in one directory; delete it to remove the demo. Each call resumes where the last one stopped or was
killed. `place` has paths and environment, `sample` the repository, `sftp_server` the web host, `cycle` all steps in
order.
"""
