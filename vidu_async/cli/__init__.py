"""The command line, of the extra `cli`: what the library does, from a shell. `app.py` has the list of commands.

Results go to stdout and everything else to stderr. click is imported here alone, and the client by the command that
uses it: a help text waits for nothing.
"""
