"""Resilience steps, one a file: settings, class, `bind`. A step never imports another step, opens a socket or reads a
clock of its own: rules decide, ports act."""
