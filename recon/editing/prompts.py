"""What the shipped editor understands, and what to say where it does not."""

import difflib

from data.errors import InputError
from data.worlds.edits.words import COLORS, MATERIALS, NOUNS, PLACES, content_words, vocabulary, words_of

LONGEST = 500
"""Characters of a sentence."""
WORDS = 22
"""Words of a sentence for the shipped editor."""

SUGGESTIONS = (
    "make it autumn", "make it night", "make it sunset", "add fog", "in the snow", "make it a stormy day", "turn red into blue", "make the thing gold",
    "make everything out of marble", "make the background white", "turn it into an oil painting", "make it a watercolor", "make it a pencil drawing", "make it a cartoon",
    "pop art", "neon light", "make it a sepia photo", "a black and white photo", "make it warmer", "more contrast", "make it brighter", "give it a blue tint",
)  # fmt: skip
ANY_SENTENCE = ("make it autumn", "turn it into a van gogh painting", "as if it had snowed", "make it look like it is made of lego", "at night, lit by lanterns")
"""For editors that take any sentence."""


def checked(prompt: str) -> str:
    """A sentence without spaces around it.

    Raises:
        InputError: it is empty, too long, or holds what is no text.
    """
    prompt = " ".join(prompt.split())
    if not prompt:
        raise InputError('The prompt is empty. Say what should change, such as "make it autumn".')
    if len(prompt) > LONGEST:
        raise InputError(f"The prompt has {len(prompt)} characters; {LONGEST} are the most. Say it in one sentence.")
    if not prompt.isprintable():
        raise InputError("The prompt holds characters that are no text. Type it again.")
    return prompt


def understood(prompt: str) -> str:
    """The sentence, if the shipped editor was taught its words.

    Raises:
        InputError: it was not; names the words, and what the editor knows.
    """
    prompt = checked(prompt)
    words = words_of(prompt)
    strange = [w for w in dict.fromkeys(words) if w not in vocabulary()]
    if strange:
        near = [m for w in strange for m in difflib.get_close_matches(w, sorted(content_words()), n=1, cutoff=0.75)]
        hint = f" Did you mean '{near[0]}'?" if near else ""
        listed = ", ".join(f"'{w}'" for w in strange[:4])
        raise InputError(f"The editor that comes with this program does not know {listed}.{hint} It knows {known()}. A larger editor takes any sentence: --model ID or FOLDER.")
    if not any(w in content_words() for w in words):
        raise InputError(f"'{prompt}' does not say what should change. The editor that comes with this program knows {known()}.")
    if len(words) > WORDS:
        raise InputError(f"The prompt has {len(words)} words; the editor that comes with this program reads {WORDS}. Make one edit after the other.")
    return prompt


def known() -> str:
    """What the shipped editor knows, in one breath."""
    return (
        f"colours ({', '.join(COLORS)}), materials ({', '.join(MATERIALS)}), things ({', '.join([*NOUNS[:-1], 'it', *PLACES])}), times of day (night, sunset, sunrise, noon), "
        "weather (fog, snow, rain, storm, sunny, overcast), seasons, styles (oil painting, watercolor, pencil, charcoal, ink, cartoon, pop art, impressionist, pastel, sepia, "
        "black and white, neon, blueprint), and brighter, darker, more or less contrast, colorful, muted, warmer, cooler, negative"
    )
