"""The console: owner of the registry, keeper of the evidence, and the page on which people see the situation.

What happens to a reading here: ``listener`` takes it from the broker (or ``readings`` from the store), ``live`` keeps
it, ``overview`` decides what is shown, ``pages`` says it, ``board`` finds what changed, and ``web`` sends that.
"""
