// A netlist behind its pins, as a library: bytes that the host queues go out on pin rx, start bit first, bytes on pin tx
// come back. Simulated time passes only inside popflip_run, as in sim/cxxrtl/shim.cc, whose functions these are.
//
// CYCLE_EDGES: edges of the clock source in a cycle of the chip. BIT_CYCLES: cycles in a bit at the host's baud rate.

#include <chrono>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <new>

#include "Vdut.h"
#include "verilated.h"

namespace {

constexpr uint64_t LOCK_CYCLES = 100;
constexpr uint64_t START_CYCLES = 10000;  // more than hw/lib/pll.py waits; a host opens the port later still
constexpr int FRAME_BITS = 10;

struct Chip {
  VerilatedContext context;
  std::unique_ptr<Vdut> dut;
  uint64_t cycles = 0, idle = 0;
  std::deque<uint8_t> sent, received;
  // Host's sender: frame is shifted out, least significant bit first; a set bit above the stop bit marks the end.
  unsigned frame = 0;
  double send_phase = 0;
  // Host's receiver: samples the middle of each bit after a falling edge.
  bool line = true, receiving = false;
  double receive_phase = 0;
  int bits = 0;
  unsigned shift = 0;

  Chip() {
    const char *arguments[] = {"popflip", "+verilator+rand+reset+2", "+verilator+seed+1"};
    context.commandArgs(3, arguments);
    dut = std::make_unique<Vdut>(&context);
    dut->source = 0;
    dut->locked = 0;
    dut->rx = 1;
    dut->eval();
    while (cycles < START_CYCLES) cycle();
  }

  void send() {
    if (frame == 0 && !sent.empty()) {
      frame = 1u << FRAME_BITS | 1u << (FRAME_BITS - 1) | unsigned(sent.front()) << 1;
      sent.pop_front();
      send_phase = 0;
      dut->rx = 0;
      idle = 0;
    }
    if (frame == 0) return;
    send_phase += 1;
    if (send_phase < BIT_CYCLES) return;
    send_phase -= BIT_CYCLES;
    frame >>= 1;
    if (frame == 1) frame = 0;
    dut->rx = frame == 0 || (frame & 1);
  }

  void receive() {
    bool level = dut->tx;
    if (!receiving) {
      if (line && !level) {
        receiving = true;
        receive_phase = BIT_CYCLES / 2;
        bits = 0;
        shift = 0;
      }
    } else if ((receive_phase -= 1) <= 0) {
      receive_phase += BIT_CYCLES;
      shift |= unsigned(level) << bits;
      if (++bits == FRAME_BITS) {
        receiving = false;
        if (!(shift & 1) && shift >> (FRAME_BITS - 1)) received.push_back(uint8_t(shift >> 1));
        idle = 0;
      }
    }
    line = level;
  }

  void cycle() {
    send();
    for (int edge = 0; edge < CYCLE_EDGES; ++edge) {
      dut->source = !dut->source;
      dut->eval();
    }
    receive();
    ++cycles;
    ++idle;
    if (cycles == LOCK_CYCLES) dut->locked = 1;
  }
};

}  // namespace

extern "C" {

void *popflip_create(const char *) { return new Chip; }

void popflip_destroy(void *handle) { delete static_cast<Chip *>(handle); }

void popflip_write(void *handle, const uint8_t *data, size_t count) {
  auto &chip = *static_cast<Chip *>(handle);
  chip.sent.insert(chip.sent.end(), data, data + count);
}

size_t popflip_run(void *handle, size_t count, uint64_t timeout_cycles, double seconds) {
  auto &chip = *static_cast<Chip *>(handle);
  auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (chip.received.size() < count && chip.idle < timeout_cycles) {
    for (int cycle = 0; cycle < 256 && chip.received.size() < count; ++cycle) chip.cycle();
    if (std::chrono::steady_clock::now() >= end) break;
  }
  return chip.received.size();
}

void popflip_read(void *handle, uint8_t *data, size_t count) {
  auto &chip = *static_cast<Chip *>(handle);
  for (size_t index = 0; index < count; ++index) {
    data[index] = chip.received.front();
    chip.received.pop_front();
  }
}

uint64_t popflip_cycles(void *handle) { return static_cast<Chip *>(handle)->cycles; }

int popflip_waves_error(void *) { return 0; }

const char *popflip_error(void *) { return nullptr; }  // no memory lies beside the chip

void popflip_power_cycle(void *handle) {
  auto *chip = static_cast<Chip *>(handle);
  uint64_t cycles = chip->cycles;
  chip->~Chip();
  new (chip) Chip;
  chip->cycles += cycles;
}

uint64_t popflip_idle(void *handle) { return static_cast<Chip *>(handle)->idle; }

void popflip_restart_timeout(void *handle) { static_cast<Chip *>(handle)->idle = 0; }
}
