"""Tools of the testbenches: simulators, streams, memories and networks."""
