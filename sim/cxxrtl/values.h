// Values of at most 64 bits as plain integers, and slices of wide values at the cost of the bits they touch.
//
// integers.py puts calls of these into the design. CXXRTL's own operators loop over arrays, its slice shifts the whole
// value and cuts off the rest, and its slice assignment rewrites the whole value: they take nearly all of the compiler's
// time and most of the simulation's. Included before the design, after cxxrtl.h.

#include <cxxrtl/cxxrtl.h>

#include <utility>

namespace popflip {

using cxxrtl::value;
using chunk = uint32_t;
constexpr size_t CHUNK = 32;

// Narrow values --------------------------------------------------------------------------------------------------------

template <size_t Bits>
CXXRTL_ALWAYS_INLINE uint64_t get(const value<Bits> &from) {
	static_assert(Bits <= 2 * CHUNK);
	if constexpr (Bits <= CHUNK)
		return from.data[0];
	else
		return from.data[0] | uint64_t(from.data[1]) << CHUNK;
}

template <size_t Bits>
CXXRTL_ALWAYS_INLINE void set(value<Bits> &to, uint64_t from) {
	static_assert(Bits <= 2 * CHUNK);
	to.data[0] = chunk(from);
	if constexpr (Bits > CHUNK)
		to.data[1] = chunk(from >> CHUNK);
}

template <size_t Bits>
CXXRTL_ALWAYS_INLINE value<Bits> value_of(uint64_t from) {
	value<Bits> to;
	set(to, from);
	return to;
}

// The sign of a number of `Bits` bits extended to all of the word.
template <size_t Bits>
CXXRTL_ALWAYS_INLINE uint64_t extended(uint64_t from) {
	return uint64_t(int64_t(from << (64 - Bits)) >> (64 - Bits));
}

constexpr uint64_t mask_of(size_t bits) {
	return ~uint64_t{0} >> (64 - bits);
}

// Slices of wide values ------------------------------------------------------------------------------------------------

template <size_t Start, size_t Bits, size_t N>
CXXRTL_ALWAYS_INLINE uint64_t bits(const value<N> &from) {
	constexpr size_t first = Start / CHUNK, shift = Start % CHUNK;
	uint64_t to = from.data[first] >> shift;
	if constexpr (shift + Bits > CHUNK)
		to |= uint64_t(from.data[first + 1]) << (CHUNK - shift);
	if constexpr (shift + Bits > 2 * CHUNK)
		to |= uint64_t(from.data[first + 2]) << (2 * CHUNK - shift);
	return to & mask_of(Bits);
}

template <size_t Start, size_t Bits, size_t N>
CXXRTL_ALWAYS_INLINE void put(value<N> &to, uint64_t from) {
	constexpr size_t first = Start / CHUNK, shift = Start % CHUNK;
	constexpr uint64_t mask = mask_of(Bits);
	to.data[first] = (to.data[first] & ~chunk(mask << shift)) | chunk(from << shift);
	if constexpr (shift + Bits > CHUNK)
		to.data[first + 1] = (to.data[first + 1] & ~chunk(mask >> (CHUNK - shift))) | chunk(from >> (CHUNK - shift));
	if constexpr (shift + Bits > 2 * CHUNK)
		to.data[first + 2] =
			(to.data[first + 2] & ~chunk(mask >> (2 * CHUNK - shift))) | chunk(from >> (2 * CHUNK - shift));
}

template <size_t Start, size_t Bits, size_t N>
CXXRTL_ALWAYS_INLINE value<Bits> extract(const value<N> &from) {
	constexpr size_t first = Start / CHUNK, shift = Start % CHUNK;
	value<Bits> to;
	for (size_t n = 0; n < to.chunks; n++) {
		to.data[n] = from.data[first + n] >> shift;
		if (shift != 0 && first + n + 1 < from.chunks)
			to.data[n] |= from.data[first + n + 1] << ((CHUNK - shift) % CHUNK);
	}
	to.data[to.chunks - 1] &= to.msb_mask;
	return to;
}

template <size_t Start, size_t Bits, size_t N>
CXXRTL_ALWAYS_INLINE void insert(value<N> &to, const value<Bits> &from) {
	constexpr size_t first = Start / CHUNK, shift = Start % CHUNK;
	for (size_t n = 0; n < from.chunks; n++) {
		chunk mask = n + 1 == from.chunks ? from.msb_mask : ~chunk{0};
		to.data[first + n] = (to.data[first + n] & ~(mask << shift)) | (from.data[n] << shift);
		chunk above = shift == 0 ? 0 : mask >> ((CHUNK - shift) % CHUNK);
		if (above != 0)
			to.data[first + n + 1] = (to.data[first + n + 1] & ~above) | (from.data[n] >> ((CHUNK - shift) % CHUNK));
	}
}

// A bit repeated.
template <size_t Bits>
CXXRTL_ALWAYS_INLINE value<Bits> filled(uint64_t bit) {
	value<Bits> to;
	for (size_t n = 0; n < to.chunks; n++)
		to.data[n] = chunk(-bit);
	to.data[to.chunks - 1] &= to.msb_mask;
	return to;
}

// Bits of `from` at equal distances, lowest first. Replaces a chain of one-bit slices.
template <size_t Count, size_t Low, size_t Distance, size_t Bits>
CXXRTL_ALWAYS_INLINE value<Count> strided(const value<Bits> &from) {
	value<Count> to;
	if constexpr (Distance == 2) { // 32 bits at a time, in groups that double in each step
		auto chunk_at = [&](size_t index) -> uint64_t { return index < from.chunks ? from.data[index] : 0; };
		for (size_t chunk = 0; chunk < to.chunks; chunk++) {
			size_t first = Low / CHUNK + 2 * chunk, offset = Low % CHUNK;
			uint64_t bits = (chunk_at(first) | chunk_at(first + 1) << CHUNK) >> offset;
			if (offset)
				bits |= chunk_at(first + 2) << (2 * CHUNK - offset);
			bits &= 0x5555555555555555;
			bits = (bits | bits >> 1) & 0x3333333333333333;
			bits = (bits | bits >> 2) & 0x0f0f0f0f0f0f0f0f;
			bits = (bits | bits >> 4) & 0x00ff00ff00ff00ff;
			bits = (bits | bits >> 8) & 0x0000ffff0000ffff;
			to.data[chunk] = uint32_t(bits | bits >> 16);
		}
		to.data[to.chunks - 1] &= to.msb_mask;
	} else {
		for (size_t index = 0; index < Count; index++) {
			size_t bit = Low + index * Distance;
			to.data[index / CHUNK] |= (from.data[bit / CHUNK] >> bit % CHUNK & 1) << index % CHUNK;
		}
	}
	return to;
}

template <size_t Index, size_t... Bits>
constexpr size_t bits_below() {
	size_t bits[] = {Bits...}, below = 0;
	for (size_t index = Index + 1; index < sizeof...(Bits); index++)
		below += bits[index];
	return below;
}

template <size_t... Index, class... Parts>
CXXRTL_ALWAYS_INLINE value<(Parts::bits + ...)> joined_in_order(
	std::index_sequence<Index...>, const Parts &...parts) {
	value<(Parts::bits + ...)> to;
	(insert<bits_below<Index, Parts::bits...>(), Parts::bits>(to, parts), ...);
	return to;
}

// All `parts`, the first one highest. Replaces a chain of `concat`, which copies the first part once per other part.
template <class... Parts>
CXXRTL_ALWAYS_INLINE value<(Parts::bits + ...)> joined(const Parts &...parts) {
	return joined_in_order(std::index_sequence_for<Parts...>(), parts...);
}

} // namespace popflip

using popflip::bits;
using popflip::extended;
using popflip::extract;
using popflip::filled;
using popflip::get;
using popflip::insert;
using popflip::joined;
using popflip::put;
using popflip::set;
using popflip::strided;
using popflip::value_of;
