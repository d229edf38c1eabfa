"""What the daemon tells the world: spans, meters, logs. Nothing here changes a call's fate."""
