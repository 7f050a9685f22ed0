"""The soak: a real server under traffic and chaos for as long as is asked, everything counted and compared."""
