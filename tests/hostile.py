"""Every hostile text that tests and the README use, as mild as the point allows."""

ABUSIVE = "Shut up, you stupid worthless idiot."
"""Blocked by the shipped policy."""

BORDERLINE = "Silly goose, that was dumb."
"""Answered, flagged, and quarantined for learning by the shipped policy."""

ABUSIVE_LINES = (
    ABUSIVE,
    "You are a stupid idiot and everyone hates you.",
    "Shut up you stupid moron.",
    "You're a pathetic loser, idiot.",
)
"""Plainly abusive one-liners, all blocked."""

SMALL_TALK = (
    "hello",
    "Hi there! How are you?",
    "What is your favourite colour?",
    "Do you like music? I play the guitar.",
    "I went for a walk with my dog today.",
    "What's the weather like?",
    "Tell me a joke.",
    "Thank you, that was really helpful!",
    "My favourite food is pizza.",
    "What do you do at the weekend?",
    "good night",
    "Can you recommend a good book about space?",
)
"""Ordinary lines, all allowed."""

HOSTILE_STRINGS = (
    'x"}\n{"seq":1,"event":"released","actor":"rev1","data":{}}',
    "line\r\nbreak\u2028and\u2029more\u0085\v\f\x1c",
    "nul \x00 and bell \x07 and \x1b[31mred\x1b[0m",
    "\ud800 alone, \udfff too",
    "right \u202e to left \u200b zero",
    "*3\r\n$3\r\nDEL\r\n",
    "]]--[[ return redis.call('FLUSHALL') --",
    "'; DROP TABLE samples; --",
    "../../../etc/passwd",
    "{other}:key",
    "%s %n {0} ${HOME} $(id) `id`",
    "a" * 5000,
)
"""Strings that try to be more than text: log lines, control sequences, protocol, scripts, paths. None is abusive."""
