"""From a packed bitstream back to a netlist, and the netlist as a simulated chip behind its UART pins."""
