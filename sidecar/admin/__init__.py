"""The admin listener: health, metrics and state as JSON. Reads through ports; never on the call path."""
