"""The chip: Amaranth components on streams. One file a stage, under the name of the golden function it equals."""
