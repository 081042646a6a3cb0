"""Telling people: from alert documents to pages on telephones, by chains of who is told when nobody acknowledges.

A service of its own with an identity that may order nothing: whatever a gateway, a plug-in or a settings file does to
it, no siren is touched. ``occasions`` (what an alert says that a person must know) → ``plan`` (whom it is due to now)
→ ``texts`` (its words) → ``outbox`` (on disk before it is sent) → ``send`` (a child process, the only one that loads
Apprise).
"""
