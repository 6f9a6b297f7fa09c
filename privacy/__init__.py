"""Numbers in, numbers out: the mechanisms that the promise rests on.

Nothing below this package performs I/O, reads a clock or touches the network; randomness is an argument.
"""
