"""The same cloud in virtual time: one process, no server, and waiting costs nothing.

The real definition of the state machine runs in the sandbox's interpreter, the real handlers run
in this process, and their calls go through botocore to the sandbox's EC2 and to small fakes of the
other services. A clock that jumps from one event to the next makes a day a matter of a second, so
that a fault can be tried at every point of a backup.
"""
