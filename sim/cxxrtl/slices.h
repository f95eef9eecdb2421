// Slices of wide values, and wide values made of many slices, at the cost of the bits they touch.
//
// CXXRTL's generic slice shifts the whole value and cuts off the rest, and its slice assignment rewrites the whole
// value. For words of many lanes these take nearly all of the compiler's time and most of the simulation's. The
// specialisations below touch only the chunks that hold the slice. Included before the design, after cxxrtl.h.
// expressions.py puts calls of `strided` and `joined` into the design.

#include <cxxrtl/cxxrtl.h>

#include <utility>

namespace popflip {

using cxxrtl::value;
using chunk = uint32_t;
constexpr size_t CHUNK = 32;

template<size_t Start, size_t Bits, size_t N>
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

template<size_t Start, size_t Bits, size_t N>
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
	(insert<bits_below<Index, Parts::bits...>()>(
		to, static_cast<const value<Parts::bits> &>(parts)), ...);
	return to;
}

// All `parts`, the first one highest. Replaces a chain of `concat`, which copies the first part once per other part.
template <class... Parts>
CXXRTL_ALWAYS_INLINE value<(Parts::bits + ...)> joined(const Parts &...parts) {
	return joined_in_order(std::index_sequence_for<Parts...>(), parts...);
}

} // namespace popflip

using popflip::joined;
using popflip::strided;

namespace cxxrtl {

template<size_t N, size_t Stop, size_t Start>
struct slice_expr<const value<N>, Stop, Start> : public expr_base<slice_expr<const value<N>, Stop, Start>> {
	static constexpr size_t bits = Stop - Start + 1;
	const value<N> &expr;

	slice_expr(const value<N> &expr) : expr(expr) {}
	slice_expr(const slice_expr &) = delete;

	CXXRTL_ALWAYS_INLINE operator value<bits>() const { return popflip::extract<Start, bits>(expr); }
	CXXRTL_ALWAYS_INLINE value<bits> val() const { return *this; }
};

template<size_t N, size_t Stop, size_t Start>
struct slice_expr<value<N>, Stop, Start> : public expr_base<slice_expr<value<N>, Stop, Start>> {
	static constexpr size_t bits = Stop - Start + 1;
	value<N> &expr;

	slice_expr(value<N> &expr) : expr(expr) {}
	slice_expr(const slice_expr &) = delete;

	CXXRTL_ALWAYS_INLINE operator value<bits>() const { return popflip::extract<Start, bits>(expr); }
	CXXRTL_ALWAYS_INLINE value<bits> val() const { return *this; }
	CXXRTL_ALWAYS_INLINE slice_expr &operator=(const value<bits> &rhs) {
		popflip::insert<Start>(expr, rhs);
		return *this;
	}
};

} // namespace cxxrtl
