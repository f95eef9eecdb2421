"""Every stage again in plain Python: loops over samples, rows and synapses. It shares no code with the golden model.

Tests compare the golden model with these definitions.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from itertools import pairwise

from popflip.golden.config import Config, Precision
from popflip.golden.memory.weights import State

Layer = list[list[int]]


def brute_draw(x: int) -> int:
    """One step, modulo 2³² after each of its three assignments."""
    x = (x ^ (x << 13)) % 2**32
    x = (x ^ (x >> 17)) % 2**32
    return (x ^ (x << 5)) % 2**32


def brute_bernoulli(state: int, n: int) -> tuple[int, int]:
    """The mask, and the random state after it."""
    if n in (0, 256):
        return 2**32 - 1 if n else 0, state
    lowest = next(b for b in range(8) if n >> b & 1)
    r = 0
    for b in range(lowest, 8):
        state = brute_draw(state)
        r = r | state if n >> b & 1 else r & state
    return r, state


def brute_lanes(row_words: list[int], synapses: int) -> list[bool]:
    """Synapse ``32g + b`` is bit ``b`` of word ``g``."""
    return [bool(row_words[i // 32] >> i % 32 & 1) for i in range(synapses)]


def brute_forward(weights: list[list[list[int]]], x: list[int]) -> list[list[int]]:
    """Sums of every layer for one sample."""
    sums = []
    a = list(x)
    for layer in weights:
        v = [sum(a_i * w_i for a_i, w_i in zip([*a, 1], row, strict=True)) for row in layer]
        sums.append(v)
        a = [1 if v_o > 0 else -1 for v_o in v]
    return sums


def brute_predict(v: list[int]) -> int:
    best = 0
    for c in range(1, len(v)):
        if v[c] > v[best]:
            best = c
    return best


def brute_output_error(v: list[int], t: int, margin: int) -> tuple[bool, int]:
    """Whether one sample triggers an update, and its rival."""
    rival = None
    for c in range(len(v)):
        if c != t and (rival is None or v[c] > v[rival]):
            rival = c
    return not v[t] - v[rival] > margin, rival


def brute_backward(
    weights: list[list[list[int]]], v: list[list[int]], delta: list[int], window: list[int], dclip: int
) -> list[list[int]]:
    """δ of every layer for one sample."""
    deltas = [delta]
    for layer in range(len(weights) - 1, 0, -1):
        below = []
        for i in range(len(v[layer - 1])):
            e = sum(deltas[0][o] * weights[layer][o][i] for o in range(len(weights[layer])))
            clipped = max(-dclip, min(dclip, e))
            below.append(clipped if abs(v[layer - 1][i]) <= window[layer - 1] else 0)
        deltas.insert(0, below)
    return deltas


def brute_accumulate(m: list[list[int]], delta: list[list[int]], a: list[list[int]], mmax: int) -> list[list[int]]:
    """Counters after all samples: for each, each row, each synapse."""
    m = [list(row) for row in m]
    for delta_s, a_s in zip(delta, a, strict=True):
        for o, delta_o in enumerate(delta_s):
            for i, a_i in enumerate(a_s):
                m[o][i] = max(-mmax, min(mmax, m[o][i] + delta_o * a_i))
    return m


def brute_select(m: list[list[int]], w: list[list[int]], k: int) -> tuple[int, int, list[list[bool]]]:
    """Threshold, ties taken below it, and the selected synapses."""
    candidates = []  # (A, row, synapse) in scan order
    for o, row in enumerate(m):
        for i, m_oi in enumerate(row):
            s = (m_oi > 0) - (m_oi < 0)
            if s != 0 and s != w[o][i]:
                candidates.append((abs(m_oi), o, i))
    theta = 1
    while sum(magnitude >= theta for magnitude, _, _ in candidates) > k:
        theta += 1
    chosen = [(o, i) for magnitude, o, i in candidates if magnitude >= theta]
    ties = 0
    if theta > 1:
        ties = k - len(chosen)
        chosen += [(o, i) for magnitude, o, i in candidates if magnitude == theta - 1][:ties]
    return theta, ties, [[(o, i) in chosen for i in range(len(row))] for o, row in enumerate(m)]


def brute_flip(
    w: Layer, m: Layer, selected: list[list[bool]], config: Config, state: int, word_base: int
) -> tuple[Layer, Layer, list[list[int]], int]:
    """Weights, counters, records, and the random state after the pass."""
    w, m = [list(row) for row in w], [list(row) for row in m]
    records = []
    index = word_base
    for o, row in enumerate(w):
        for start in range(0, len(row), 32):
            r, state = brute_bernoulli(state, config.flip_p256)
            flipped = 0
            for b, i in enumerate(range(start, min(start + 32, len(row)))):
                if selected[o][i] and r >> b & 1:
                    s = (m[o][i] > 0) - (m[o][i] < 0)
                    w[o][i] = s if config.precision == Precision.BINARY else w[o][i] + s
                    m[o][i] = 0
                    flipped |= 1 << b
                elif config.shift is None:
                    m[o][i] = 0
                else:
                    m[o][i] -= m[o][i] // 2**config.shift
            if flipped:
                records.append([index, flipped])
            index += 1
    return w, m, records, state


def brute_crc32(data: list[int]) -> int:
    """zlib's CRC-32: reflected polynomial 0xEDB88320, all ones before and inverted after."""
    crc = 2**32 - 1
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xEDB88320 * (crc & 1)
    return crc ^ 2**32 - 1


def brute_bytes(records: list[list[int]]) -> list[int]:
    """Index, then mask, lowest byte first."""
    return [value >> shift & 255 for record in records for value in record for shift in (0, 8, 16, 24)]


def brute_score(a: list[int], classifier: list[list[int]]) -> list[int]:
    """For each class, the sum over neurons: +1 if the neuron equals its bit of ``ρ``, else −1."""
    return [sum(1 if rho_o == a_o else -1 for rho_o, a_o in zip(rho, a, strict=True)) for rho in classifier]


def brute_predict_score(y: list[int]) -> int:
    """The first class that no other beats."""
    return next(c for c, y_c in enumerate(y) if all(y_c >= other for other in y))


def brute_triggers(y: list[int], t: int, margin: int) -> bool:
    """Whether some other class comes closer to ``t`` than ``margin``."""
    return any(y[t] - y_c < margin for c, y_c in enumerate(y) if c != t)


def brute_winners(z: list[int], wrong: list[bool], group: int, near: int) -> list[int]:
    """The neuron of each group that comes first when the wrong ones, sorted by ``|z|``, then by number, are followed by
    the right ones with ``|z| < near`` in the same order."""
    rows = []
    for start in range(0, len(z), group):
        members = range(start, min(start + group, len(z)))
        candidates = [(not wrong[o], abs(z[o]), o) for o in members if wrong[o] or abs(z[o]) < near]
        if candidates:
            rows.append(min(candidates)[2])
    return rows


def brute_reinforce(
    k: list[list[int]], up: list[list[bool]], rows: list[int], n: int, mmax: int, state: int, word_base: int
) -> tuple[list[list[int]], list[list[int]], int]:
    """Counters, records, and the random state after the update."""

    def sat(value: int) -> int:
        return min(max(value, -mmax - 1), mmax)

    result, records = [], []
    for row, k_o, up_o in zip(rows, k, up, strict=True):
        after = []
        for word in range((len(k_o) + 31) // 32):
            r, state = brute_bernoulli(state, n)
            changed = 0
            for b in range(32):
                i = 32 * word + b
                if i >= len(k_o):
                    continue  # a pad: drawn for, and nothing else
                value = sat(k_o[i] + 1) if up_o[i] else sat(k_o[i] - 1)
                if r >> b & 1:
                    value = sat(value + 1) if value >= 0 else sat(value - 1)
                changed |= ((value >= 0) != (k_o[i] >= 0)) << b
                after.append(value)
            if changed:
                records.append([word_base + row * ((len(k_o) + 31) // 32) + word, changed])
        result.append(after)
    return result, records, state


def brute_initial(layers: tuple[int, ...], precision: Precision, seed: int) -> tuple[list[list[list[int]]], int]:
    """Weights ``[layer][row][synapse]`` and the random state after drawing them."""
    return brute_weights([(rows, inputs + 1) for inputs, rows in pairwise(layers)], precision, seed)


def brute_weights(shapes: list[tuple[int, int]], precision: Precision, seed: int) -> tuple[list[list[list[int]]], int]:
    """:func:`brute_initial` for layers of some rows and synapses each."""
    state = 0x9E3779B9 ^ (7919 * seed % 2**32) or 1
    weights = []
    for rows, synapses in shapes:
        layer = []
        for _ in range(rows):
            row = []
            for word in range((synapses + 31) // 32):
                p = state = brute_draw(state)
                z = 2**32 - 1
                if precision == Precision.TERNARY:
                    z = state = brute_draw(state)
                for b in range(32):
                    if 32 * word + b < synapses:
                        row.append(0 if not z >> b & 1 else 1 if p >> b & 1 else -1)
            layer.append(row)
        weights.append(layer)
    return weights, state


def brute_lbe_initial(
    layers: tuple[int, ...], classes: int, mmax: int, seed: int
) -> tuple[list[list[list[int]]], list[list[list[int]]], int]:
    """Counters ``[layer][row][synapse]``, classifiers ``[layer][class][neuron]`` and the random state after them."""
    bits = {1: 2, 3: 3, 7: 4, 15: 5, 31: 6, 63: 7, 127: 8}[mmax]
    state = 0x9E3779B9 ^ (7919 * seed % 2**32) or 1
    counters, classifiers = [], []
    for inputs, rows in pairwise(layers):
        layer = []
        for _ in range(rows):
            row = []
            for _ in range((inputs + 31) // 32):
                for _ in range(8):
                    state = brute_draw(state)
                    for q in range(4):
                        byte = state >> 8 * q & 255
                        row.append((byte - 256 if byte > 127 else byte) // 2 ** (9 - bits))
            layer.append(row[:inputs])
        counters.append(layer)
        rho = []
        for _ in range(classes):
            one = []
            for _ in range((rows + 31) // 32):
                state = brute_draw(state)
                one += [state >> b & 1 for b in range(32)]
            rho.append(one[:rows])
        classifiers.append(rho)
    return counters, classifiers, state


def brute_sha256(state: State) -> str:
    """Every value written out on its own."""
    data = b""
    for w, m in zip(state.weights, state.counters, strict=True):
        data += b"".join(struct.pack("b", value) for row in w for value in row)
        data += b"".join(struct.pack("<h", value) for row in m for value in row)
    return hashlib.sha256(data).hexdigest()


def brute_order(key: tuple[int, ...], count: int, place: int) -> int:
    """The sample at ``place`` of the chip's order, bit by bit."""
    width = max(2, len(f"{count - 1:b}"))
    number = place
    while True:
        bits = [number // 2**b % 2 for b in range(width)]
        for turn, part in enumerate(key):
            changed, half = (bits[1::2], bits[0::2]) if turn % 2 == 0 else (bits[0::2], bits[1::2])
            x = sum(bit * 2**b for b, bit in enumerate(half)) ^ part
            x = x * 129 % 2**16
            x = x ^ x // 64
            x = x * 9 % 2**16
            x = x ^ x // 256
            after = [bit ^ x // 2**b % 2 for b, bit in enumerate(changed)]
            bits[1 - turn % 2 :: 2] = after
        number = sum(bit * 2**b for b, bit in enumerate(bits))
        if number < count:
            return number


@dataclass
class BruteLayer:
    """A layer by its definition: planes of ``high × wide × channels`` read at positions, ``bias`` after the taps."""

    high: int
    wide: int
    channels: int
    rows: int
    kernel: int = 1
    stride: int = 1
    pool: int = 1
    bias: int = 0

    @property
    def pooled(self) -> tuple[int, int]:
        """Neurons of a row, down and across."""
        high, wide = (len(range(0, size, self.stride)) for size in (self.high, self.wide))
        return high // self.pool, wide // self.pool

    @property
    def synapses(self) -> int:
        return self.kernel * self.kernel * self.channels + self.bias

    def positions(self) -> list[tuple[int, int]]:
        """The used positions in order."""
        high, wide = self.pooled
        return [(py, px) for py in range(high * self.pool) for px in range(wide * self.pool)]

    def neuron(self, py: int, px: int, row: int) -> int:
        """Number of the neuron that a row's position belongs to."""
        return (py // self.pool * self.pooled[1] + px // self.pool) * self.rows + row

    def taps(self, py: int, px: int) -> list[tuple[int, int]]:
        """At a position, each synapse whose input lies inside, and the number of that input; without the bias."""
        found = []
        for ky in range(self.kernel):
            for kx in range(self.kernel):
                for c in range(self.channels):
                    y = py * self.stride + ky - self.kernel // 2
                    x = px * self.stride + kx - self.kernel // 2
                    if 0 <= y < self.high and 0 <= x < self.wide:
                        found.append(
                            ((ky * self.kernel + kx) * self.channels + c, (y * self.wide + x) * self.channels + c)
                        )
        return found


def brute_conv_pixels(bits: list[int], high: int, wide: int, channels: int) -> list[int]:
    """A sample's bits, plane after plane, as activations ``[y][x][c]``."""
    return [bits[c * high * wide + y * wide + x] for y in range(high) for x in range(wide) for c in range(channels)]


def brute_conv_sums(w: Layer, a: list[int], layer: BruteLayer) -> list[int]:
    """Sums of a layer's neurons for one sample."""
    v = [0] * (layer.pooled[0] * layer.pooled[1] * layer.rows)
    for py, px in layer.positions():
        for row in range(layer.rows):
            n = layer.neuron(py, px, row)
            v[n] += w[row][-1] if layer.bias else 0
            for synapse, i in layer.taps(py, px):
                v[n] += w[row][synapse] * a[i]
    return v


def brute_conv_forward(weights: list[Layer], x: list[int], layers: list[BruteLayer]) -> list[list[int]]:
    """Sums of every layer for one sample."""
    sums, a = [], x
    for w, layer in zip(weights, layers, strict=True):
        sums.append(brute_conv_sums(w, a, layer))
        a = [1 if v > 0 else -1 for v in sums[-1]]
    return sums


def brute_conv_errors(w: Layer, delta: list[int], layer: BruteLayer) -> list[int]:
    """e of each of a layer's inputs for one sample."""
    e = [0] * (layer.high * layer.wide * layer.channels)
    for py, px in layer.positions():
        for row in range(layer.rows):
            for synapse, i in layer.taps(py, px):
                e[i] += delta[layer.neuron(py, px, row)] * w[row][synapse]
    return e


def brute_conv_backward(
    weights: list[Layer], v: list[list[int]], delta: list[int], window: list[int], dclip: int, layers: list[BruteLayer]
) -> list[list[int]]:
    """δ of every layer for one sample."""
    deltas = [delta]
    for index in range(len(layers) - 1, 0, -1):
        e = brute_conv_errors(weights[index], deltas[0], layers[index])
        near = [abs(v_i) <= window[index - 1] for v_i in v[index - 1]]
        deltas.insert(0, [max(-dclip, min(dclip, e_i)) if near_i else 0 for e_i, near_i in zip(e, near, strict=True)])
    return deltas


def brute_conv_accumulate(m: Layer, delta: list[int], a: list[int], layer: BruteLayer, mmax: int) -> Layer:
    """Counters after one sample: each position in order, each row, each tap."""
    m = [list(row) for row in m]
    for py, px in layer.positions():
        for row in range(layer.rows):
            d = delta[layer.neuron(py, px, row)]
            votes = [(synapse, d * a[i]) for synapse, i in layer.taps(py, px)]
            for synapse, vote in votes + ([(layer.synapses - 1, d)] if layer.bias else []):
                m[row][synapse] = max(-mmax, min(mmax, m[row][synapse] + vote))
    return m
