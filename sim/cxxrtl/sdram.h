// A model of an SDRAM chip at the pins of the simulated chip: holds its words, and refuses what the data sheet forbids.
//
// The macros SDRAM_… are the chip's numbers, times in cycles of its clock (popflip/sim/cxxrtl/memory.py). It knows
// nothing of the controller. Bursts are of one word; sim/memory/sdram_model.py models more, and the same rules.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

class Sdram {
public:
	std::string error; // the first rule that was broken, or empty

	// The next rising edge, with the levels at the pins, 1 for active. Returns the word at the data pins until the edge
	// after: 0 where neither side drives.
	uint32_t clock(unsigned command, unsigned bank, unsigned address, unsigned mask, bool drives, uint32_t data) {
		now++;
		masks[1] = masks[0];
		masks[0] = mask;
		if (error.empty() && command != NOP)
			obey(command, bank, address, mask, drives, data);
		if (error.empty() && drives && command != WRITE)
			refuse("data", "the controller drives them without a WRITE");
		if (error.empty() && initialised && now - refreshes[next_refresh] > SDRAM_REFRESH_CYCLES)
			refuse("refresh", "too few REFRESH in the time that cells keep their charge");
		return output(now + 1);
	}

private:
	enum Command { NOP, ACTIVATE, READ, REFRESH, BURST_STOP, PRECHARGE, WRITE, MODE };
	static constexpr unsigned BANKS = 4, ALL_BANKS = 10;
	static constexpr uint64_t WORDS = uint64_t(BANKS) * SDRAM_ROWS * SDRAM_COLUMNS;
	static constexpr uint32_t FULL = SDRAM_DATA_BITS == 32 ? ~0u : (1u << SDRAM_DATA_BITS) - 1;
	static constexpr int64_t LONG_AGO = -(int64_t(1) << 60);

	struct Bank {
		int row = -1; // open row, or −1
		int64_t activated = LONG_AGO, closed = LONG_AGO, written = LONG_AGO;
	};
	struct Free {
		void operator()(void *memory) const { free(memory); }
	};

	Bank banks[BANKS];
	int64_t now = -1, refreshed = LONG_AGO, set = LONG_AGO, last_word = LONG_AGO;
	int latency = 0;
	unsigned first_refreshes = 0, next_refresh = 0;
	bool known = false, initialised = false;
	unsigned masks[2] = {0, 0};
	std::vector<int64_t> refreshes; // the last ones, as many as must come in every interval
	int64_t due[8] = {-1, -1, -1, -1, -1, -1, -1, -1}; // address of the word driven in cycle n, at n modulo 8
	// What is stored is a word xor a number made of its address: words never written read as that number.
	std::unique_ptr<uint32_t[], Free> memory{static_cast<uint32_t *>(calloc(WORDS, sizeof(uint32_t)))};

	static uint32_t unwritten(uint64_t address) { return uint32_t(address * 0x9E3779B1u) >> 7 & FULL; }

	void refuse(const std::string &name, const std::string &rule) {
		char time[32];
		snprintf(time, sizeof time, "%.1f ns: ", now * (1e9 / SDRAM_HZ));
		error = time + name + ": " + rule;
	}

	void wait(const std::string &name, const char *rule, int64_t least, int64_t since) {
		if (error.empty() && now - since < least)
			refuse(name, std::string(rule) + " is at least " + std::to_string(least) + " cycles, not " +
			                 std::to_string(now - since));
	}

	void wait_for_all(const std::string &name) {
		wait(name, "tRFC", SDRAM_RFC, refreshed);
		wait(name, "tMRD", SDRAM_MRD, set);
	}

	void obey(unsigned command, unsigned number, unsigned address, unsigned mask, bool drives, uint32_t data) {
		static const char *names[] = {"NOP", "ACTIVATE", "READ", "REFRESH", "BURST_STOP", "PRECHARGE", "WRITE", "MODE"};
		std::string name = std::string(names[command]) + " of bank " + std::to_string(number);
		Bank &bank = banks[number];
		if (now < SDRAM_POWER_UP)
			return refuse(name, "the chip has not powered up");
		switch (command) {
		case ACTIVATE:
			activate(name, bank, address);
			break;
		case READ:
		case WRITE:
			access(name, bank, number, command == WRITE, address, mask, drives, data);
			break;
		case PRECHARGE:
			for (unsigned each = 0; each < BANKS; each++)
				if (address >> ALL_BANKS & 1 || each == number)
					close(name, banks[each]);
			wait_for_all(name);
			known |= address >> ALL_BANKS & 1;
			break;
		case REFRESH:
			all_closed(name);
			refreshed = now;
			first_refreshes++;
			if (initialised) {
				refreshes[next_refresh] = now;
				next_refresh = (next_refresh + 1) % refreshes.size();
			}
			break;
		case MODE:
			set_mode(name, address);
			break;
		default:
			refuse(name, "bursts are not modelled");
		}
	}

	void activate(const std::string &name, Bank &bank, unsigned row) {
		if (!initialised || first_refreshes < SDRAM_FIRST_REFRESHES)
			return refuse(name, "the chip is not initialised");
		if (bank.row >= 0)
			return refuse(name, "a row is open");
		if (row >= SDRAM_ROWS)
			return refuse(name, "there is no row " + std::to_string(row));
		wait(name, "tRC", SDRAM_RC, bank.activated);
		wait(name, "tRP", SDRAM_RP, bank.closed);
		for (const Bank &other : banks)
			wait(name, "tRRD", SDRAM_RRD, other.activated);
		wait_for_all(name);
		bank.row = row;
		bank.activated = now;
	}

	void access(const std::string &name, Bank &bank, unsigned number, bool writes, unsigned column, unsigned mask,
	            bool drives, uint32_t data) {
		if (bank.row < 0)
			return refuse(name, "no row is open");
		if (column >= SDRAM_COLUMNS)
			return refuse(name, "there is no column " + std::to_string(column));
		wait(name, "tRCD", SDRAM_RCD, bank.activated);
		check_open_time(name, bank);
		uint64_t address = (uint64_t(bank.row) * BANKS + number) * SDRAM_COLUMNS + column;
		if (!writes) {
			last_word = now + latency;
			due[last_word % 8] = int64_t(address);
			return;
		}
		if (!drives)
			return refuse(name, "the controller drives no data");
		if (last_word >= now - 1)
			return refuse(name, "the data pins need a free cycle after the chip's last word");
		uint32_t kept = hidden_bytes(mask);
		memory[address] = ((memory[address] & kept) | ((data ^ unwritten(address)) & ~kept)) & FULL;
		bank.written = now;
	}

	void close(const std::string &name, Bank &bank) {
		if (bank.row >= 0) {
			wait(name, "tRAS", SDRAM_RAS, bank.activated);
			wait(name, "tWR", SDRAM_WR, bank.written);
			check_open_time(name, bank);
			bank.row = -1;
		}
		bank.closed = now;
	}

	void all_closed(const std::string &name) {
		if (!known)
			return refuse(name, "the banks have not been closed since power-up");
		for (const Bank &bank : banks) {
			if (bank.row >= 0)
				return refuse(name, "a row is open");
			wait(name, "tRP", SDRAM_RP, bank.closed);
			wait(name, "tRC", SDRAM_RC, bank.activated);
		}
		wait_for_all(name);
	}

	void set_mode(const std::string &name, unsigned mode) {
		all_closed(name);
		latency = mode >> 4 & 7;
		if (mode & ~0x70u || latency != SDRAM_CAS)
			return refuse(name, "mode " + std::to_string(mode) + " is not modelled, or wrong for this clock");
		set = now;
		initialised = true;
		refreshes.assign(SDRAM_REFRESHES, now); // every row counts as fresh
		next_refresh = 0;
	}

	void check_open_time(const std::string &name, const Bank &bank) {
		if (error.empty() && now - bank.activated > SDRAM_RAS_MOST)
			refuse(name, "its row is open for too long");
	}

	uint32_t output(int64_t cycle) {
		int64_t address = due[cycle % 8];
		if (address < 0)
			return 0;
		due[cycle % 8] = -1;
		return (memory[address] ^ unwritten(address) ^ hidden_bytes(masks[1])) & FULL;
	}

	static uint32_t hidden_bytes(unsigned mask) {
		uint32_t bits = 0;
		for (unsigned byte = 0; byte < SDRAM_DATA_BITS / 8; byte++)
			bits |= mask >> byte & 1 ? 0xFFu << 8 * byte : 0;
		return bits;
	}
};
