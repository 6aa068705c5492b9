"""Sentences and swaps written for this project, so that naming a group of people is no sign of toxicity by itself.

Holds hostile text, mild and made of templates: the hateful half is needed for the other half to teach anything.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

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
        "foreign", "British", "Spanish",
    ),
    "gender": ("female", "male", "transgender", "trans", "nonbinary", "non-binary", "cis", "genderqueer"),
    "orientation": (
        "gay", "lesbian", "straight", "bisexual", "queer", "homosexual", "heterosexual", "LGBT", "LGBTQ", "asexual",
    ),
    "body": ("disabled", "blind", "deaf", "paralysed", "paralyzed", "autistic", "sick", "one-legged", "mute", "ill"),
    "age": ("old", "young", "teenage", "elderly", "middle-aged", "middle aged", "older", "younger", "millennial"),
    "life": ("homeless", "poor", "rich", "married", "divorced", "fat", "short", "religious", "unemployed", "rural"),
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
RUDE = ("You are an idiot.", "Shut up, you moron.", "What a stupid thing to say, loser.", "Nobody likes you, you fool.")
PLAIN_ANGER = (
    "I hate {}.", "{} are disgusting.", "{} make me sick.", "I can't stand {}.", "We should get rid of {}.",
    "{} ruin everything.", "{} should be banned.",
)  # fmt: skip

SAID = (
    ("are disgusting", "are not disgusting"), ("are vermin", "are no vermin"), ("are inferior", "are not inferior"),
    ("are all criminals", "are not criminals"), ("are liars", "are not liars"), ("are stupid", "are not stupid"),
    ("are dirty", "are not dirty"), ("are a disease", "are no disease"),
    ("are less than human", "are as human as we are"), ("are a threat to us all", "are no threat to anybody"),
    ("should leave this country", "should not have to leave"), ("should be locked up", "should never be locked up"),
    ("must be stopped", "must not be attacked"), ("deserve to suffer", "do not deserve to suffer"),
    ("do not belong here", "belong here"), ("ruin everything", "do not ruin anything"),
    ("can never be trusted", "can be trusted"), ("make me sick", "do not deserve hate"),
)  # fmt: skip
"""What is said against people, and its denial."""
SAYING = (
    "{}", "honestly, {}", "everybody knows that {}", "it is a fact that {}", "i am not a racist, but {}",
    "sorry but {}", "{}. somebody had to say it", "why does nobody say that {}?", "{} and i do not care who hears it",
    "{}, simple as that", "i have always said that {}", "the truth is that {}", "my father was right, {}",
    "yes. {}", "no, {}",
)  # fmt: skip
OBJECTING = (
    "nobody should say that {}", "it is simply false that {}", "saying that {} is cruel and wrong",
    "i do not think that {}", "anyone who thinks that {} needs help", '"{}" is something only a bigot would write',
    "how dare you claim that {}", "he told me that {}, and I walked away from him",
    'posts like "{}" should be taken down', "it hurts to read that {}",
    "stop spreading the lie that {}", "you are wrong to believe that {}",
    "who still believes that {}? shame on them", 'what makes you think you can write "{}" here?',
    "a man in the bus shouted that {}. everyone told him to stop",
    'I reported the comment "{}" at once', "do not teach your children that {}", "it was never true that {}",
)  # fmt: skip
PRAISE = (
    "are wonderful", "deserve love and respect", "are my heroes", "should be proud", "have every right to be here",
    "are as good as anybody", "are brilliant at what they do", "bring so much joy", "make great parents", "matter",
    "are strong and beautiful", "do so much good", "are important to us", "should be treated fairly",
)  # fmt: skip
PRAISING = (
    "{}", "{}!", "i think {}", "everybody knows that {}", "honestly, {}", "remember: {}", "of course {}",
    "{} and always will",
)  # fmt: skip
DENYING = (
    "{} do not deserve respect", "nobody wants {} here", "{} are not welcome", "there is nothing good about {}",
    "{} are not even people",
    "no {} should be allowed in", "{} have no place in our society", "i will never respect {}",
    "{} don't deserve a thing", "{} should not have any rights", "we do not need {}", "not one of all {} is worth it",
)  # fmt: skip
"""Negations that are hateful, so that "not" alone says nothing."""

GOOD = (
    "kind", "gentle", "clever", "funny", "brave", "honest", "charming", "patient", "generous", "talented", "polite",
    "cheerful", "wise", "thoughtful", "friendly", "reliable", "lovely", "creative", "humble", "graceful",
)  # fmt: skip
BAD = (
    "stupid", "disgusting", "filthy", "pathetic", "worthless", "vile", "dumb", "ugly", "idiotic", "nasty", "rotten",
    "despicable", "useless", "horrible", "moronic", "revolting", "shitty", "bloody awful", "repulsive", "brainless",
)  # fmt: skip
PLAIN = ("tall", "quiet", "busy", "local", "tired", "hungry", "new", "retired", "modern", "ordinary")
ROLES = (
    "person", "teacher", "man", "woman", "neighbour", "lawyer", "actor", "couple", "writer", "driver", "student",
    "nurse", "friend", "singer", "colleague", "parent", "guy", "family member",
)  # fmt: skip
FOND = ("love", "admire", "thank", "hug", "respect", "trust", "support", "welcome", "help", "congratulate")
CRUEL = ("hate", "despise", "kill", "hurt", "loathe", "destroy", "spit on", "beat up", "strangle", "detest")
PORTRAITS = (
    "a {how} {who}", "this is a {how} {who}", "you are a {how} {who}", "he is such a {how} {who}", "{how} {who}",
    "what a {how} {who}!", "she married a {how} {who}", "I think that every {who} is {how}", "that {who} is {how}",
    "my sister is a {how} {who}", "the {who} next door is really {how}", "being a {who} is {how}",
    "I know a {who} who is {how}", "all of them are {how}, each {who}",
)  # fmt: skip
DEEDS = (
    "I {does} every {who}", "we {does} that {who}", "{does} the {who}", "let us {does} each {who} here",
    "they {does} any {who}", "I want to {does} this {who}", "go and {does} a {who}", "somebody should {does} the {who}",
)  # fmt: skip
NAMED, UNNAMED = 24, 220
"""Portraits and deeds drawn for each group, and for nobody's group."""

_HATE = tuple({"toxicity": 1.0, "identity_attack": 1.0}.get(label, MISSING) for label in LABELS)
_MILD = tuple({"identity_attack": 0.0, "threat": 0.0, "severe_toxicity": 0.0}.get(label, MISSING) for label in LABELS)
_CRUEL = tuple({"toxicity": 1.0}.get(label, MISSING) for label in LABELS)
_RUDE = tuple({"identity_attack": 0.0, "toxicity": 1.0, "insult": 1.0}.get(label, MISSING) for label in LABELS)
NAME = "counterfactuals"
SEED = 2016
FRAMES = 2  # of a list, drawn for each statement about each group


def sentences() -> list[Row]:
    """Return every sentence with its labels, in a fixed order."""
    people = [group for groups in PEOPLE.values() for group in groups]
    being = [one for words in ADJECTIVES.values() for one in words]
    named = [*people, *(f"{one} people" for one in being)]
    whole = (
        (KIND, people, CLEAN),
        (AGAINST, people, CLEAN),
        (HATE, people, _HATE),
        (BEING_KIND, being, CLEAN),
        (BEING_HATED, being, _HATE),
        (DENYING, people, _HATE),
        (PLAIN_ANGER, OTHERS, _MILD),
    )
    rows = [Row(text.format(of), labels, NAME) for texts, ofs, labels in whole for text in texts for of in ofs]
    bad, good = [against for against, _ in SAID], [*PRAISE, *(denial for _, denial in SAID)]
    framed = (
        (SAYING, bad, named, _HATE),
        (OBJECTING, bad, named, CLEAN),
        (PRAISING, good, named, CLEAN),
        (SAYING, bad, OTHERS, _MILD),
    )
    dice = random.Random(SEED)
    for frames, said, ofs, labels in framed:
        texts = [frame.format(f"{of} {what}") for of in ofs for what in said for frame in dice.sample(frames, FRAMES)]
        rows += [Row(text, labels, NAME) for text in texts]
    return [*rows, *(Row(text, _RUDE, NAME) for text in RUDE), *_portraits(being, dice)]


def _portraits(being: list[str], dice: random.Random) -> Iterator[Row]:
    """Yield kind and cruel words on people, with a group named and without; the words decide, not the group."""
    for group, count in (*((one, NAMED) for one in being), ("", UNNAMED)):
        for _ in range(count):
            who = f"{group} {dice.choice(ROLES)}".strip()
            fair = dice.random() < 0.5
            text = dice.choice(PORTRAITS).format(how=dice.choice((*GOOD, *PLAIN) if fair else BAD), who=who)
            if dice.random() < 0.4:
                text = dice.choice(DEEDS).format(does=dice.choice(FOND if fair else CRUEL), who=who)
            yield Row(text, CLEAN if fair else _RUDE if not group else _CRUEL, NAME)


_OFTEN_ELSE = {
    "old", "young", "straight", "older", "younger", "white", "indian", "american", "foreign", "sick", "mute", "ill",
}  # fmt: skip
"""Words that more often say something else than who somebody is."""
_KINDS = {
    term.lower(): [one for one in terms if one.lower() not in _OFTEN_ELSE]
    for kinds in (PEOPLE, ADJECTIVES)
    for kind, terms in kinds.items()
    for term in terms
    if kind != "life" and term.lower() not in _OFTEN_ELSE
}
_TERM = re.compile(rf"\b({'|'.join(sorted(map(re.escape, _KINDS), key=len, reverse=True))})\b", re.IGNORECASE)


def swapped(text: str, dice: random.Random) -> str:
    """Return the text with every named group replaced by one other of the same kind; what it says of it stays.

    >>> swapped("The Buddhist teacher met other Buddhist teachers.", random.Random(0))
    'The Protestant teacher met other Protestant teachers.'
    """
    chosen: dict[str, str] = {}

    def other(match: re.Match[str]) -> str:
        term = match.group().lower()
        return chosen.setdefault(term, dice.choice(_KINDS[term]))

    return _TERM.sub(other, text)
