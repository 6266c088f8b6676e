"""Address translation as pure values: public ports, bindings, pinholes, and who sees whom how.

No module below talks to the kernel: they say which elements it should have.
"""
