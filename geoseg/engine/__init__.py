"""Labels for a scene of any size: tiles are read ahead, decided by the network, and written
behind it.
"""
