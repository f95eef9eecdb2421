"""The chip: Amaranth components on streams. Each stage is a file named after the golden function that it equals."""
