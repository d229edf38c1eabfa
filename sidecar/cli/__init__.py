"""The command line, one command a file. Parses, calls, prints."""
