"""What a chip with USB calls itself. The host finds it by these, so both import them; neither needs LUNA for that."""

VENDOR_ID, PRODUCT_ID = 0x1209, 0x0001
"""pid.codes, and the first of its numbers for tests. A device that is sold or given away needs a number of its own."""
VENDOR = "Popflip"
PRODUCT = "Popflip chip"
"""Tells the chip from other devices with the test number."""
