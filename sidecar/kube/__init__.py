"""Kubernetes: pods with the sidecar put into them, by a command and by an admission webhook."""
