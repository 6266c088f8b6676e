"""Sans-IO protocols: bytes in, frozen events and rewritten bytes out.

No module below reads a socket or a clock. `contract` is what every helper promises,
`registry` names them.
"""
