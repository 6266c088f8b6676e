"""The asyncio shell: sockets, time and signals around the pure engine.

`main.run` is the whole daemon; `control.call` is how other programs ask it something.
"""
