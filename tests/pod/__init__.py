"""Real Pods: containers in a network namespace of their own, started, probed, fed and ended as a kubelet does."""
