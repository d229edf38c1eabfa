"""The firewall rules that lead an application's connections to the transparent listener.

Rules are text made of options, and pure (`rules.py`, and the upper half of `nft.py` and `iptables.py`); `machine.py`
runs the programs that put them in force. Nothing of the call path belongs here. The daemon never imports it, since it
runs without the privilege that this needs.
"""
