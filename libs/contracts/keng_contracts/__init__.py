"""What travels between the parts of Kẻng: topics, packs, receipts, registry, commands, playback, alerts.

Pure: nothing in this package touches a socket, a file or a clock. Every document that
crosses a process is a type here, with its reader and its writer side by side.
"""
