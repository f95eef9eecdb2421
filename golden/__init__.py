"""The golden model: the learning rules in NumPy integers, with no hardware in them. One file a stage."""
