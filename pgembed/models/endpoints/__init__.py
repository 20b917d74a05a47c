"""HTTP endpoints that embed: what they are, and an exchange with one during which a cancel is seen."""
