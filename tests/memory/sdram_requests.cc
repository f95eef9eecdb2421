// Random requests to the SDRAM controller behind its pads, with the model of the chip: words read are those written.
//
// The traffic is that of sim/memory/tb_sdram.py: most requests stay in a few rows, and both sides pause at times.

#include "values.h"

#include "design.cc"
#include "sdram.h"

#include <deque>
#include <random>

namespace {

constexpr uint64_t WORDS = uint64_t(4) * SDRAM_ROWS * SDRAM_COLUMNS;
constexpr uint32_t FULL = SDRAM_DATA_BITS == 32 ? ~0u : (1u << SDRAM_DATA_BITS) - 1;
constexpr uint64_t PATIENCE = 1000; // cycles in which nothing moves, after power-up, while the reader does not pause
constexpr unsigned QUIET = 200;     // cycles between requests, now and then, so that the chip idles

struct Request {
	bool writes;
	uint64_t address;
	unsigned more;
};

class Run {
public:
	std::string error;
	uint64_t cycles = 0, read = 0, written = 0;

	explicit Run(uint64_t seed) : random(seed) { top.eval(); }

	void go(uint64_t requests) {
		uint64_t last = SDRAM_POWER_UP; // cycle in which something moved
		left = requests;
		while (error.empty() && (left || pending || !reads.empty() || !writes.empty())) {
			if (cycle() || pauses)
				last = std::max(last, cycles);
			if (cycles > last + PATIENCE)
				error = "stuck";
		}
	}

private:
	cxxrtl_design::p_top top;
	Sdram chip;
	std::mt19937_64 random;
	std::vector<uint32_t> memory = initial();
	std::deque<std::pair<uint32_t, unsigned>> writes; // word, and bytes to keep
	std::deque<std::pair<uint32_t, bool>> reads;      // word, and whether it ends its request
	Request request{};
	uint64_t left = 0;
	unsigned row = 0, quiet = 0;
	uint32_t word = 0; // that the chip drives
	bool pending = false, offers = false, pauses = false;

	static std::vector<uint32_t> initial() { // as the model's words that were never written
		std::vector<uint32_t> words(WORDS);
		for (uint64_t address = 0; address < WORDS; address++)
			words[address] = uint32_t(address * 0x9E3779B1u) >> 7 & FULL;
		return words;
	}

	uint64_t below(uint64_t most) { return random() % most; }
	bool chance(unsigned percent) { return below(100) < percent; }

	void next_request() {
		if (chance(10))
			row = below(SDRAM_ROWS);
		uint64_t place = chance(70) ? row : (row + below(3)) % SDRAM_ROWS;
		request.address = (place * 4 + below(4)) * SDRAM_COLUMNS + below(SDRAM_COLUMNS);
		if (chance(10))
			request.address = below(WORDS);
		request.more = chance(10) ? below(LONGEST) : below(std::min(4, LONGEST));
		request.writes = chance(50);
		for (unsigned step = 0; step <= request.more; step++) {
			uint64_t at = (request.address + step) % WORDS;
			if (request.writes)
				write(at);
			else
				reads.emplace_back(memory[at], step == request.more);
		}
		pending = true;
		left--;
		quiet = chance(1) && chance(50) ? QUIET : 0;
	}

	void write(uint64_t at) {
		uint32_t data = uint32_t(random()) & FULL, kept = 0;
		unsigned keep = KEEP_BITS && chance(30) ? below(1 << KEEP_BITS) : 0;
		for (unsigned byte = 0; byte < SDRAM_DATA_BITS / 8; byte++)
			kept |= keep >> byte & 1 ? 0xFFu << 8 * byte : 0;
		memory[at] = (memory[at] & kept) | (data & ~kept);
		writes.emplace_back(data, keep);
	}

	// A clock cycle. Returns whether something moved.
	bool cycle() {
		if (quiet)
			quiet--;
		else if (!pending && left)
			next_request();
		bool asks = pending && !quiet;
		offers = !writes.empty() && (offers || !chance(STALL));
		pauses = chance(1) ? !pauses && STALL : pauses;
		bool takes = !pauses && !chance(STALL);
		top.p_data__in.set<uint32_t>(word);
		top.p_request__valid.set<bool>(asks);
		top.p_request.set<uint64_t>(uint64_t(request.writes) | request.address << 1 | uint64_t(request.more) << MORE_PLACE);
		top.p_write__valid.set<bool>(offers);
		if (offers)
			top.p_write.set<uint64_t>(uint64_t(writes.front().first) | uint64_t(writes.front().second) << SDRAM_DATA_BITS);
		top.p_read__ready.set<bool>(takes);
		top.prev_p_clk.set<bool>(false);
		top.p_clk.set<bool>(true);
		top.eval();
		bool asked = asks && top.p_request__ready.get<bool>();
		bool wrote = offers && top.p_write__ready.get<bool>();
		bool took = takes && top.p_read__valid.get<bool>();
		if (asked)
			pending = false;
		if (wrote) {
			writes.pop_front();
			offers = false;
			written++;
		}
		if (took)
			check(top.p_read__data.get<uint32_t>(), top.p_read__last.get<bool>());
		unsigned mask = 0;
#if KEEP_BITS
		mask = top.p_mask.get<uint32_t>();
#endif
		word = chip.clock(top.p_command.get<uint32_t>(), top.p_bank.get<uint32_t>(), top.p_address.get<uint32_t>(), mask,
		                  top.p_drive.get<bool>(), top.p_data.get<uint32_t>());
		if (!chip.error.empty())
			error = chip.error;
		top.commit();
		cycles++;
		return asked || wrote || took;
	}

	void check(uint32_t data, bool last) {
		if (reads.empty())
			error = "a word that was not requested";
		else if (reads.front() != std::make_pair(data, last))
			error = "word " + std::to_string(read) + " is another one";
		else
			reads.pop_front();
		read++;
	}
};

} // namespace

// Runs `requests`; `counts` gets cycles, words read and words written. Returns what went wrong, or nothing.
extern "C" const char *run(uint64_t requests, uint64_t seed, uint64_t *counts) {
	static std::string error;
	Run run(seed);
	run.go(requests);
	counts[0] = run.cycles;
	counts[1] = run.read;
	counts[2] = run.written;
	error = run.error;
	return error.c_str();
}
