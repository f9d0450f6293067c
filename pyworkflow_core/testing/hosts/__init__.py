"""Three small, correct stores: the hosts in which the suite's own faults are planted.

They are also the shortest answers to "what must a backend do?": `RamStore` keeps runs in
dictionaries, `LinesStore` in one journal of JSON lines, and `TcpStore` behind a toy server.
`PlainStore` has the rules that they share. None of them is meant for production.
"""
