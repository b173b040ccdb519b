"""Flows: the only place where stages are joined. One file each; each reads as the straight line it is."""
