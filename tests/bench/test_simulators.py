"""How testbenches are built."""

import pytest

from popflip.sim.bench.simulators import EMPTY, SimulatorMissing, simulator


def test_verilator_run_time_library_is_compiled_once(tmp_path):
    try:
        chosen = simulator()
    except SimulatorMissing as missing:
        pytest.skip(str(missing))
    chosen.build(tmp_path, EMPTY)
    assert "verilated.cpp" not in (tmp_path / "build.log").read_text()
    assert not list(tmp_path.glob("*.o"))
