"""The golden model: the learning rules in NumPy integers, independent of any hardware. One file per stage."""
