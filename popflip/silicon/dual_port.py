"""The block RAM of an ECP5 (DP16KD, and PDPW16KD with one port of 36 bits) as Verilog."""

from __future__ import annotations

from dataclasses import dataclass

NORMAL, READ_BEFORE_WRITE, WRITE_THROUGH = range(3)
"""What a port that writes a word reads in the same cycle: noise, the old word, the new one."""


@dataclass(frozen=True)
class DualPortRam:
    """2,048 words of 9 bits behind two ports, A and B, of which at most one writes.

    ``words`` holds its contents; None if they are undefined. ``widths`` are the ports' bits: 1, 2, 4, 9, 18, or 36 if
    one port writes and the other reads (``simple``). Of 36 bits, the low half is at ``DIA`` and ``DOA``: Lattice's own
    generated memories take it from ``DO18`` to ``DO35`` of a PDPW16KD, which nextpnr connects to ``DOA``. ``modes`` say
    what a port that writes reads.
    ``ports`` holds the nets of ``CLKA``, ``CEA``, ``WEA``, ``ADA``, ``DIA``, ``DOA``, and those of port B.
    """

    name: str
    words: tuple[int, ...] | None
    simple: bool
    widths: tuple[int, int]
    modes: tuple[int, int]
    ports: dict[str, tuple[str, ...]]

    @property
    def clocks(self) -> tuple[str, ...]:
        """The nets that clock it."""
        return (*self.ports["CLKA"], *self.ports["CLKB"])

    @property
    def outputs(self) -> tuple[str, ...]:
        """The nets that it drives."""
        return (*self.ports["DOA"], *self.ports["DOB"])

    @property
    def inputs(self) -> tuple[str, ...]:
        """The nets that it reads."""
        return tuple(net for port, nets in self.ports.items() if not port.startswith("DO") for net in nets)

    def verilog(self) -> str:
        """An instance of :data:`MODEL` and the nets of its outputs."""
        lines, connections = [], []
        for port, nets in self.ports.items():
            if port.startswith("DO"):
                vector = f"{self.name}_{port.lower()}"
                lines.append(f"wire [17:0] {vector};")
                lines += [f"assign {net} = {vector}[{bit}];" for bit, net in enumerate(nets)]
                connections.append(f".{port}({vector})")
            else:
                connections.append(f".{port}({{{', '.join(reversed(nets))}}})")
        content = "".join(f"{word:09b}" for word in reversed(self.words or (0,) * 2048))
        content = "".join(f"{int(content[at : at + 4], 2):x}" for at in range(0, len(content), 4))
        values = {
            **{"WIDTH_A": self.widths[0], "WIDTH_B": self.widths[1], "MODE_A": self.modes[0], "MODE_B": self.modes[1]},
            **{"SIMPLE": int(self.simple), "DEFINED": int(self.words is not None), "WORDS": f"18432'h{content}"},
        }
        parameters = ", ".join(f".{name}({value})" for name, value in values.items())
        lines.append(f"dual_port_ram #({parameters}) {self.name} ({', '.join(connections)});")
        return "\n".join(lines)


MODEL = """\
// Rows of four words of 9 bits. A port of fewer bits takes some of a row; its low address bits choose which.
module dual_port_ram #(parameter WIDTH_A = 18, WIDTH_B = 18, MODE_A = 0, MODE_B = 0, SIMPLE = 0, DEFINED = 1,
                       parameter [18431:0] WORDS = 0)
  (input CLKA, CEA, WEA, CLKB, CEB, WEB, input [13:0] ADA, ADB, input [17:0] DIA, DIB, output [17:0] DOA, DOB);
  reg [35:0] rows [0:511];
  reg [35:0] read_a, read_b;
  integer i;
  initial if (DEFINED) for (i = 0; i < 512; i = i + 1) rows[i] = WORDS[36 * i +: 36];

  function [35:0] ones(input integer width);
    ones = (37'd1 << width) - 37'd1;
  endfunction
  function [5:0] place(input integer width, input [4:0] address);  // of a port's first bit in the row
    case (width)
      36: place = 0;
      18: place = address[4] ? 18 : 0;
      9: place = 9 * address[4:3];
      4: place = 9 * address[4:3] + 4 * address[2];
      2: place = 9 * address[4:3] + 2 * address[2:1];
      default: place = 9 * address[4:3] + address[2:0];
    endcase
  endfunction
  function [35:0] written(input integer width, input [4:0] address);  // bits that a write changes
    case (width)
      36: written = {{9{address[3]}}, {9{address[2]}}, {9{address[1]}}, {9{address[0]}}};
      18: written = {18'b0, {9{address[1]}}, {9{address[0]}}} << place(width, address);
      default: written = ones(width) << place(width, address);
    endcase
  endfunction

  wire writes_a = CEA & (WEA | (SIMPLE != 0)), writes_b = CEB & WEB & (SIMPLE == 0);
  wire [35:0] mask_a = written(WIDTH_A, ADA[4:0]), mask_b = written(WIDTH_B, ADB[4:0]);
  wire [35:0] data_a = {SIMPLE != 0 ? DIB : 18'b0, DIA} << place(WIDTH_A, ADA[4:0]);
  wire [35:0] data_b = {18'b0, DIB} << place(WIDTH_B, ADB[4:0]);
  always @(posedge CLKA) if (writes_a) rows[ADA[13:5]] <= (rows[ADA[13:5]] & ~mask_a) | (data_a & mask_a);
  always @(posedge CLKB) if (writes_b) rows[ADB[13:5]] <= (rows[ADB[13:5]] & ~mask_b) | (data_b & mask_b);

  // Bits that the other port writes in the same cycle are noise.
  wire same = ADA[13:5] == ADB[13:5];
  wire [35:0] noise_a = writes_b && same ? mask_b & {$urandom, $urandom} : 36'b0;
  wire [35:0] noise_b = writes_a && same ? mask_a & {$urandom, $urandom} : 36'b0;
  wire [35:0] old_a = (rows[ADA[13:5]] ^ noise_a) >> place(WIDTH_A, ADA[4:0]);
  wire [35:0] old_b = (rows[ADB[13:5]] ^ noise_b) >> place(WIDTH_B, ADB[4:0]);
  always @(posedge CLKA) if (CEA)
    read_a <= ones(WIDTH_A) & (!writes_a || MODE_A == 1 ? old_a : MODE_A == 2 ? {18'b0, DIA} : {$urandom, $urandom});
  always @(posedge CLKB) if (CEB)
    read_b <= ones(WIDTH_B) & (!writes_b || MODE_B == 1 ? old_b : MODE_B == 2 ? {18'b0, DIB} : {$urandom, $urandom});
  assign DOA = WIDTH_B == 36 ? read_b[17:0] : read_a[17:0];
  assign DOB = WIDTH_B == 36 ? read_b[35:18] : read_b[17:0];
endmodule
"""
