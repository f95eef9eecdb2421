// The simulated chip as a shared library: bytes in, bytes out, and clock cycles counted exactly.
//
// Compiled together with the C++ of the chip (included below), whose top module has the byte streams `rx` and `tx`; the
// shim uses nothing else of the chip. Callers run many cycles with one call.

#include "values.h"

#include "design.cc"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <deque>
#include <memory>
#include <new>

#ifdef POPFLIP_WAVES
#include <cxxrtl/cxxrtl_vcd.h>
#endif

namespace {

#ifdef POPFLIP_SDRAM
#include "sdram.h"
#endif

constexpr uint64_t CYCLES_BETWEEN_CLOCK_READS = 1024;

class Simulation {
public:
	uint64_t cycles = 0;
	uint64_t idle = 0; // cycles since a byte last moved, in either direction
	int waves_error = 0; // errno of the first write of the waves that failed; they end there
	std::deque<uint8_t> to_chip, from_chip;

	Simulation() : settles(top.eval()) {}

	// Tick until `wanted` bytes have come, no byte has moved for `timeout` cycles, or `seconds` have passed.
	void run(size_t wanted, uint64_t timeout, double seconds) {
		using clock = std::chrono::steady_clock;
		auto end = clock::now() + std::chrono::duration<double>(seconds);
		while (from_chip.size() < wanted && idle < timeout && !error()) {
			tick();
			if (cycles % CYCLES_BETWEEN_CLOCK_READS == 0 && clock::now() >= end)
				break;
		}
#ifdef POPFLIP_WAVES
		flush();
#endif
	}

	// Registers and memories return to their values at power-up. Bytes in both queues stay, and cycles go on counting.
	void power_cycle() {
		top.~p_top();
		new (&top) cxxrtl_design::p_top; // in place: the waves refer to its signals by address
		settles = top.eval();
		idle = 0;
#ifdef POPFLIP_SDRAM
		sdram = std::make_unique<Sdram>();
		word = 0;
#endif
	}

	// What the memory beside the chip refused, or null.
	const char *error() const {
#ifdef POPFLIP_SDRAM
		return sdram->error.empty() ? nullptr : sdram->error.c_str();
#else
		return nullptr;
#endif
	}

private:
#ifdef POPFLIP_SDRAM
	std::unique_ptr<Sdram> sdram = std::make_unique<Sdram>();
	uint32_t word = 0; // at the data pins

	// The SDRAM's clock is in phase with the chip's: it sees the levels before the edge. The fields of the port are those
	// of popflip/sim/pins.py.
	void clock_sdram() {
		uint64_t pins = top.p_sdram__outputs.get<uint64_t>();
		auto field = [&pins](unsigned bits) {
			uint64_t value = pins & ((uint64_t(1) << bits) - 1);
			pins >>= bits;
			return uint32_t(value);
		};
		unsigned command = field(3), bank = field(2), address = field(13), mask = field(4), drives = field(1);
		word = sdram->clock(command, bank, address, mask, drives, field(SDRAM_DATA_BITS));
	}
#endif

	cxxrtl_design::p_top top;
	bool settles; // in one evaluation, since CXXRTL finds no loop in the design

	// One clock cycle. The inputs are stable ahead of the edge, so one evaluation at the edge gives both the outputs just
	// before it and the next state of the registers: half the work of evaluating at both edges.
	void tick() {
		top.p_rx____valid.set<bool>(!to_chip.empty());
		top.p_rx____payload.set<uint8_t>(to_chip.empty() ? 0 : to_chip.front());
		top.p_tx____ready.set<bool>(true);
#ifdef POPFLIP_SDRAM
		top.p_sdram__data.set<uint32_t>(word);
#endif
		if (!settles || recording())
			before_edge();
		top.prev_p_clk.set<bool>(false);
		top.p_clk.set<bool>(true);
		top.eval();
		bool taken = !to_chip.empty() && top.p_rx____ready.get<bool>();
		bool given = top.p_tx____valid.get<bool>();
		if (taken)
			to_chip.pop_front();
		if (given)
			from_chip.push_back(top.p_tx____payload.get<uint8_t>());
#ifdef POPFLIP_SDRAM
		clock_sdram();
#endif
		top.commit();
		cycles++;
		idle = taken || given ? 0 : idle + 1;
	}

	// Settles all signals at the end of the cycle, in the low half of the clock.
	void before_edge() {
		top.p_clk.set<bool>(false);
		top.step();
		if (recording())
			sample();
	}

#ifdef POPFLIP_WAVES
	static constexpr uint64_t PERIOD = 10; // ns per cycle in the file, independent of any board's clock
	static constexpr size_t BUFFER = 1 << 20;

	struct Close {
		void operator()(FILE *file) const { fclose(file); }
	};
	std::unique_ptr<FILE, Close> file;
	vcd_writer writer;

	bool recording() const { return file && !waves_error; }

	void sample() {
		writer.sample(cycles * PERIOD + PERIOD / 2);
		if (writer.buffer.size() >= BUFFER)
			write();
	}

	void write() {
		if (fwrite(writer.buffer.data(), 1, writer.buffer.size(), file.get()) != writer.buffer.size())
			waves_error = errno;
		writer.buffer.clear();
	}

	// Called after every run: the file on disk is complete even if the next run is interrupted.
	void flush() {
		if (!recording())
			return;
		write();
		if (fflush(file.get()) && !waves_error)
			waves_error = errno;
	}

public:
	bool open_waves(const char *path) {
		file.reset(fopen(path, "wb"));
		if (!file)
			return false;
		debug_items items;
		top.debug_info(&items, nullptr, "chip ");
		writer.timescale(1, "ns");
		writer.add_without_memories(items);
		return true;
	}
#else
	bool recording() const { return false; }
	void sample() {}
#endif
};

} // namespace

extern "C" {

// `waves`: path of a VCD file to write, or null. Returns null if it cannot be opened, with the reason in `errno`.
Simulation *popflip_create(const char *waves) {
	auto simulation = std::make_unique<Simulation>();
#ifdef POPFLIP_WAVES
	if (waves && !simulation->open_waves(waves))
		return nullptr;
#else
	(void)waves;
#endif
	return simulation.release();
}

void popflip_destroy(Simulation *simulation) { delete simulation; }

void popflip_write(Simulation *simulation, const uint8_t *bytes, size_t count) {
	simulation->to_chip.insert(simulation->to_chip.end(), bytes, bytes + count);
}

// Returns the number of bytes that can be read.
size_t popflip_run(Simulation *simulation, size_t wanted, uint64_t timeout, double seconds) {
	simulation->run(wanted, timeout, seconds);
	return simulation->from_chip.size();
}

// `count` must not exceed what popflip_run returned.
void popflip_read(Simulation *simulation, uint8_t *bytes, size_t count) {
	auto begin = simulation->from_chip.begin();
	std::copy(begin, begin + count, bytes);
	simulation->from_chip.erase(begin, begin + count);
}

// The `errno` of the first write of the waves that failed, or 0.
int popflip_waves_error(const Simulation *simulation) { return simulation->waves_error; }

// What the memory beside the chip refused, or null; the simulation does not go on from there.
const char *popflip_error(const Simulation *simulation) { return simulation->error(); }

uint64_t popflip_cycles(const Simulation *simulation) { return simulation->cycles; }

uint64_t popflip_idle(const Simulation *simulation) { return simulation->idle; }

void popflip_power_cycle(Simulation *simulation) { simulation->power_cycle(); }

void popflip_restart_timeout(Simulation *simulation) { simulation->idle = 0; }
}
