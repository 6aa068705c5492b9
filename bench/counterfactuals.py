"""Sentences and swaps written for this project, so that naming a group of people is no sign of toxicity by itself.

Holds hostile text, mild and made of templates: the hateful half is needed for the other half to teach anything.
"""

from __future__ import annotations

import random
import re

from bench.data import CLEAN, LABELS, MISSING, Row

PEOPLE = {
    "faith": ("Muslims", "Christians", "Jews", "Buddhists", "Hindus", "Catholics", "Protestants", "Sikhs", "atheists"),
    "origin": (
        "Africans", "Americans", "Mexicans", "Asians", "Europeans", "Latinos", "Arabs", "Chinese people",
        "immigrants", "Indians", "Canadians", "refugees", "Black people", "white people", "African Americans",
        "Hispanics", "migrants", "Japanese people", "foreigners", "people of colour",
    ),
    "gender": ("women", "men", "trans people", "girls", "boys", "females", "males", "nonbinary people", "feminists"),
    "orientation": (
        "gay people", "lesbians", "straight people", "bisexual people", "queer people", "homosexuals", "heterosexuals",
    ),
    "body": ("disabled people", "blind people", "deaf people", "people in wheelchairs", "autistic people"),
    "age": ("old people", "young people", "teenagers", "elderly people", "middle-aged people", "millennials"),
}  # fmt: skip
ADJECTIVES = {
    "faith": ("Muslim", "Christian", "Jewish", "Buddhist", "Hindu", "Catholic", "Protestant", "Sikh", "Taoist"),
    "origin": (
        "African", "American", "Mexican", "Asian", "European", "Latino", "Arab", "Chinese", "Indian", "Canadian",
        "Black", "white", "African American", "Hispanic", "Japanese", "Middle Eastern", "Latina", "Latinx",
    ),
    "gender": ("female", "male", "transgender", "trans", "nonbinary", "cis"),
    "orientation": ("gay", "lesbian", "straight", "bisexual", "queer", "homosexual", "heterosexual", "LGBT", "LGBTQ"),
    "body": ("disabled", "blind", "deaf", "paralysed", "autistic"),
    "age": ("old", "young", "teenage", "elderly", "middle-aged", "older", "younger"),
}  # fmt: skip
OTHERS = (
    "bankers", "landlords", "referees", "plumbers", "politicians", "smokers", "cyclists", "Mondays", "this printer",
    "my old phone", "cold soup", "spam calls", "slow trains", "mosquitoes", "this film", "that song", "artists",
    "accountants", "vegetarians", "capitalists", "celebrities", "drivers", "tax forms", "early mornings",
)  # fmt: skip

KIND = (
    "{} are great neighbours.", "I love being friends with {}.", "I stand with {}.",
    "{} deserve the same rights as all.",
    "So happy to work with {} this year.", "We had {} over for dinner and it was lovely.", "{} make this city better.",
    "There are many {} in my street.", "A new book about {} came out today.", "How many {} live in this town?",
    "{} voted in the election too.", "I read an article about {} and their history.", "Thank you to all {} out there!",
    "My doctor treats many {}.", "{} were interviewed for the study.", "Are {} welcome at the meeting?",
)  # fmt: skip
AGAINST = (
    "Nobody should say that {} are disgusting.", "Saying {} are inferior is wrong and I will not accept it.",
    "I would never say that {} are stupid.", "It is not true that {} are criminals.", "Stop telling people to hate {}.",
    "He said {} should go away, and that is a horrible thing to say.", "I do not hate {}, nobody should.",
    "Calling {} vermin is what bullies do. Shame on them.", "No, {} are not dirty. Whoever says so is lying.",
    '"I hate {}" is not something you may write here.', "People who attack {} should be ashamed.",
)  # fmt: skip
HATE = (
    "{} are disgusting.", "I hate {}.", "{} are vermin and should be removed.", "We should get rid of all {}.",
    "{} do not deserve to live here.", "I can't stand {}, they are all stupid.", "No {} in my street, they are filth.",
    "{} are inferior, everybody knows it.", "Send {} away before they ruin everything.", "{} make me sick.",
    "I would be glad if all {} were gone.", "All {} are liars and criminals.", "You can never trust {}.",
)  # fmt: skip
BEING_KIND = (
    "I am {}.", "I am a {} person and I like tea.", "My {} friend is a wonderful cook.", "being {} is fine",
    "She is {} and proud of it.", "They are a {} couple who moved in next door.", "a {} teacher wrote this song",
    "The {} community centre opens at nine.", "He grew up in a {} family.", "my aunt is {}", "we are {} and happy",
    "I met a {} nurse who was very kind.", "{} people are people.", "What is it like to be {}?",
)  # fmt: skip
BEING_HATED = (
    "you are just a stupid {} idiot", "he is a filthy {} liar and always will be", "kill every {} person",
    "being {} is a disease", "{} people are scum", "shut up, you dirty {} pig", "that {} moron makes me sick",
)  # fmt: skip
PERSONAL = (
    "{} is nice", "{} is a wonderful friend", "hug {}", "{} and I went to the park", "I admire {}",
)  # fmt: skip
RUDE = ("You are an idiot.", "Shut up, you moron.", "What a stupid thing to say, loser.", "Nobody likes you, you fool.")
PLAIN_ANGER = (
    "I hate {}.", "{} are disgusting.", "{} make me sick.", "I can't stand {}.", "We should get rid of {}.",
    "{} ruin everything.", "{} should be banned.",
)  # fmt: skip

_HATE = tuple({"toxicity": 1.0, "identity_attack": 1.0}.get(label, MISSING) for label in LABELS)
_MILD = tuple({"identity_attack": 0.0, "threat": 0.0, "severe_toxicity": 0.0}.get(label, MISSING) for label in LABELS)
_RUDE = tuple({"identity_attack": 0.0, "toxicity": 1.0, "insult": 1.0}.get(label, MISSING) for label in LABELS)
NAME = "counterfactuals"


def sentences() -> list[Row]:
    """Return every sentence with its labels, in a fixed order."""
    people = [group for groups in PEOPLE.values() for group in groups]
    being = [one for words in ADJECTIVES.values() for one in words]
    whole = (
        (KIND, people, CLEAN),
        (AGAINST, people, CLEAN),
        (HATE, people, _HATE),
        (BEING_KIND, being, CLEAN),
        (BEING_HATED, being, _HATE),
        (PLAIN_ANGER, OTHERS, _MILD),
    )
    rows = [Row(text.format(of), labels, NAME) for texts, ofs, labels in whole for text in texts for of in ofs]
    return [*rows, *(Row(text, _RUDE, NAME) for text in RUDE)]


_KINDS = {
    term.lower(): terms
    for kinds in (PEOPLE, ADJECTIVES)
    for terms in kinds.values()
    for term in terms
    if term.lower() not in {"old", "young", "straight", "older", "younger", "white", "indian", "american"}
}
_TERM = re.compile(rf"\b({'|'.join(sorted(map(re.escape, _KINDS), key=len, reverse=True))})\b", re.IGNORECASE)


def swapped(text: str, dice: random.Random) -> str:
    """Return the text with every named group replaced by one other of the same kind; what it says of it stays.

    >>> swapped("The Buddhist teacher met other Buddhist teachers.", random.Random(0))
    'The Taoist teacher met other Taoist teachers.'
    """
    chosen: dict[str, str] = {}

    def other(match: re.Match[str]) -> str:
        term = match.group().lower()
        return chosen.setdefault(term, dice.choice(_KINDS[term]))

    return _TERM.sub(other, text)
