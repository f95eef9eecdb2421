// Slices of wide values, without shifting all of the value.
//
// CXXRTL's generic slice shifts the whole value and cuts off the rest, and its slice assignment rewrites the whole
// value. For words of many lanes that is what nearly all of the compiler's time, and most of the simulation's, goes
// into. These specialisations touch only the chunks that hold the slice. Included before the design, after cxxrtl.h.

#include <cxxrtl/cxxrtl.h>

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

} // namespace popflip

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
