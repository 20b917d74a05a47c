"""codes: columns of codes beside embedded columns. `pgembed.codecs` knows what a code is; this room knows tables."""
