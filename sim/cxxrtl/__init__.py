"""Compiles an Amaranth component into a shared library that simulates it, bytes in and bytes out.

::

    component ─ wrapper.py ─▶ Amaranth ─▶ RTLIL ─▶ Yosys (CXXRTL) ─▶ C++ ─ parse.py ─▶ statements
                              └─────────── translate.py ──────────┘                       │ schedule.py
    Simulation ◀─ simulation.py, load.py ─ chip.so ◀─ g++ (compile.py) ◀─ C++ ◀─ emit.py ─ parts
                                                        ▲ shim.cc, values.h       ▲ integers.py

CXXRTL writes the whole design as one function, ``p_top::eval``, that runs once a clock cycle. It is too long for a
compiler to optimise in reasonable time and for the instruction cache to hold. The pass splits it into parts of about
one module each and runs a part only if a register, memory or signal that it reads has changed:

    part reads …  ──changed──▶  part is stale  ──run──▶  its results  ──changed──▶  parts that read them are stale

CXXRTL computes on arrays of 32-bit words; ``integers.py`` rewrites values of at most 64 bits as plain integers, which
compile in half the time.

The pass expects exactly the text that the pinned version of CXXRTL writes; anything else raises AssertionError.
"""
