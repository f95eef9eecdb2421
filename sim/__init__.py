"""The simulated chip and board, and the testbenches of hardware."""
