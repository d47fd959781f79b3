"""The language of edits: what can be asked for, in which words, and how sentences are made of them.

An `Instruction` is what an edit means; `phrase` says it in one of many ways. The same lists tell people what the shipped editor understands.
"""

import re
from dataclasses import dataclass

import numpy as np

COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.12, 0.10), "orange": (0.95, 0.50, 0.08), "yellow": (0.95, 0.85, 0.15), "green": (0.15, 0.62, 0.20), "turquoise": (0.10, 0.72, 0.70),
    "blue": (0.12, 0.28, 0.85), "purple": (0.50, 0.15, 0.70), "pink": (0.97, 0.50, 0.70), "brown": (0.45, 0.28, 0.14), "white": (0.95, 0.95, 0.94),
    "black": (0.06, 0.06, 0.07), "gray": (0.50, 0.50, 0.51),
}  # fmt: skip
"""sRGB of each colour's name."""
MATERIALS = ("gold", "silver", "copper", "wood", "marble", "stone", "brick", "porcelain")
SYNONYMS: dict[str, str] = {
    "grey": "gray", "violet": "purple", "magenta": "pink", "cyan": "turquoise", "teal": "turquoise", "golden": "gold", "metallic": "silver", "metal": "silver",
    "chrome": "silver", "steel": "silver", "bronze": "copper", "wooden": "wood", "bricks": "brick", "rock": "stone", "concrete": "stone", "ceramic": "porcelain",
    "midnight": "night", "nighttime": "night", "dusk": "sunset", "evening": "sunset", "dawn": "sunrise", "morning": "sunrise", "midday": "noon", "daylight": "noon",
    "mist": "fog", "misty": "fog", "foggy": "fog", "haze": "fog", "hazy": "fog", "snowy": "snow", "snowing": "snow", "rainy": "rain", "raining": "rain", "wet": "rain",
    "cloudy": "overcast", "clouds": "overcast", "stormy": "storm", "thunderstorm": "storm", "sunshine": "sunny", "sun": "sunny", "fall": "autumn", "autumnal": "autumn",
    "wintry": "winter", "colour": "color", "colours": "colors", "watercolour": "watercolor", "sketch": "pencil", "comic": "cartoon", "monet": "impressionist",
    "gogh": "impressionist", "vintage": "sepia", "monochrome": "bw", "noir": "bw", "cyberpunk": "neon", "lighter": "brighter", "bright": "brighter", "dark": "darker",
    "vivid": "colorful", "saturated": "colorful", "colourful": "colorful", "dull": "muted", "desaturated": "muted", "faded": "muted", "warm": "warmer", "cool": "cooler",
    "colder": "cooler", "cold": "cooler", "sphere": "ball", "egg": "ball", "cube": "box", "block": "box", "crate": "box", "cupboard": "box", "donut": "ring",
    "torus": "ring", "pillar": "cylinder", "column": "cylinder", "pyramid": "cone", "bowl": "cup", "mug": "cup", "vase": "cup", "pot": "cup", "plants": "plant",
    "leaves": "plant", "leaf": "plant", "tree": "plant", "trees": "plant", "fern": "plant", "bush": "plant", "grass": "plant", "flower": "plant", "flowers": "plant",
    "ground": "floor", "table": "floor", "road": "floor", "wall": "walls", "statue": "thing", "sculpture": "thing", "toy": "thing", "figure": "thing",
    "building": "thing", "house": "thing", "temple": "thing", "bust": "thing", "animal": "thing", "fox": "thing", "person": "thing", "object": "thing", "subject": "thing",
    "it": "thing", "backdrop": "background", "surroundings": "background",
}  # fmt: skip
"""Other words for the same; the editor reads both, since it was trained on both."""
NOUNS = ("ball", "box", "ring", "cylinder", "cone", "cup", "bottle", "plant", "fence", "thing")
PLACES = ("floor", "walls", "ceiling", "sky", "background")
TIMES = ("night", "sunset", "sunrise", "noon")
WEATHERS = ("fog", "snow", "rain", "storm", "sunny", "overcast")
SEASONS = ("spring", "summer", "autumn", "winter")
STYLES = ("oil", "watercolor", "pencil", "charcoal", "ink", "cartoon", "pop", "impressionist", "pastel", "sepia", "bw", "neon", "blueprint")
ADJUSTMENTS = ("brighter", "darker", "contrast_up", "contrast_down", "colorful", "muted", "warmer", "cooler", "negative")

_STYLE_NAMES = {
    "oil": ("oil painting",), "watercolor": ("watercolor", "watercolor painting"), "pencil": ("pencil drawing", "pencil sketch"), "charcoal": ("charcoal drawing",),
    "ink": ("ink drawing",), "cartoon": ("cartoon", "comic", "comic book"), "pop": ("pop art", "pop art poster"), "impressionist": ("impressionist painting", "van gogh painting", "monet painting"),
    "pastel": ("pastel drawing", "pastel painting"), "sepia": ("sepia photo", "vintage photo", "old photo"), "bw": ("black and white photo", "monochrome photo", "film noir"),
    "neon": ("neon city", "cyberpunk scene", "neon light"), "blueprint": ("blueprint",),
}  # fmt: skip
_TIME_WORDS = {"night": ("night", "nighttime", "midnight"), "sunset": ("sunset", "dusk", "evening", "golden hour"), "sunrise": ("sunrise", "dawn", "morning"), "noon": ("noon", "midday", "daylight")}
_WEATHER_WORDS = {
    "fog": (("foggy", "misty", "hazy"), ("fog", "mist", "haze")), "snow": (("snowy",), ("snow",)), "rain": (("rainy", "wet"), ("rain",)), "storm": (("stormy",), ("storm", "thunderstorm")),
    "sunny": (("sunny",), ("sunshine", "sun")), "overcast": (("overcast", "cloudy"), ("clouds",)),
}  # fmt: skip
_ADJUST_WORDS = {
    "brighter": ("make it brighter", "brighter", "brighten the picture", "make the photo lighter", "more light"),
    "darker": ("make it darker", "darker", "darken the picture", "make the photo dark", "less light"),
    "contrast_up": ("more contrast", "increase the contrast", "add contrast", "make it more contrasty"),
    "contrast_down": ("less contrast", "reduce the contrast", "lower the contrast", "make it softer"),
    "colorful": ("make it more colorful", "more saturated colors", "vivid colors", "make the colors vivid", "increase the saturation"),
    "muted": ("make it muted", "less saturated colors", "muted colors", "faded colors", "reduce the saturation", "make it dull"),
    "warmer": ("make it warmer", "warmer colors", "a warm light", "warm tone"), "cooler": ("make it cooler", "colder colors", "a cold light", "cool tone"),
    "negative": ("invert the colors", "make it a negative", "negative colors"),
}  # fmt: skip
_ADJECTIVES = {"gold": ("gold", "golden"), "silver": ("silver", "metallic", "chrome"), "copper": ("copper", "bronze"), "wood": ("wood", "wooden"), "marble": ("marble",), "stone": ("stone", "rock", "concrete"), "brick": ("brick", "bricks"), "porcelain": ("porcelain", "ceramic")}
_HOLDING = (
    "a an the of in into to on at with like as and be is are should look looks looking turn make paint change give convert put set let apply add take transform "
    "made style painting drawing picture photo photograph image scene everything all whole light colors color tone day time hour parts things out from by for this that "
    "more less increase reduce lower brighten darken covered colored please some please city book poster art old van film white black golden softer contrasty lots there "
    "use weather season saturation contrast tint tinted some its their them they front"
)
"""Words that hold sentences together."""


@dataclass(frozen=True)
class Instruction:
    """What an edit means."""

    kind: str
    """thing_color, thing_material, place_color, place_material, all_material, swap, tint, time, weather, season, style, adjust, background."""
    what: str = ""
    """A noun, a place, or the colour that is replaced."""
    to: str = ""
    """A colour, material, time, weather, season, style or adjustment."""


def phrase(instruction: Instruction, g: np.random.Generator) -> str:
    """One of the ways to say it, lower case, no punctuation."""
    to, what = instruction.to, instruction.what
    pick = lambda options: str(options[int(g.integers(len(options)))])  # noqa: E731
    color = pick([to, *(w for w, s in SYNONYMS.items() if s == to and to in COLORS)]) if to in COLORS else to
    noun = pick([what, what, *(w for w, s in SYNONYMS.items() if s == what)]) if what in NOUNS or what in PLACES else what
    the = noun if noun == "it" else f"the {noun}"
    match instruction.kind:
        case "thing_color" | "place_color":
            return pick([f"make {the} {color}", f"paint {the} {color}", f"turn {the} {color}", f"{the} should be {color}", f"{color} {noun}" if noun != "it" else f"make it {color}", f"change the color of {the} to {color}"])
        case "thing_material" | "place_material":
            made = pick(_ADJECTIVES[to])
            return pick([f"make {the} {made}", f"turn {the} into {made}", f"make {the} out of {made}", f"{the} should be made of {made}", f"{made} {noun}" if noun != "it" else f"made of {made}"])
        case "all_material":
            made = pick(_ADJECTIVES[to])
            return pick([f"make everything {made}", f"turn everything into {made}", f"make everything out of {made}", f"everything should be made of {made}", f"everything in {made}"])
        case "swap":
            old = pick([what, *(w for w, s in SYNONYMS.items() if s == what)])
            return pick([f"change {old} to {color}", f"make the {old} parts {color}", f"turn everything {old} {color}", f"make the {old} things {color}", f"turn {old} into {color}", f"paint the {old} parts {color}"])
        case "tint":
            return pick([f"give it a {color} tint", f"tint it {color}", f"{color} tint", f"{color} light", f"make everything {color}", f"add a {color} tint"])
        case "background":
            return pick([f"make the background {color}", f"put it in front of a {color} background", f"{color} background", f"change the background to {color}"])
        case "time":
            t = pick(_TIME_WORDS[to])
            return pick([f"make it {t}", f"turn it into {t}", f"at {t}", f"change the time to {t}", f"make it look like {t}", f"{t} light"])
        case "weather":
            adjective, noun_ = pick(_WEATHER_WORDS[to][0]), pick(_WEATHER_WORDS[to][1])
            return pick([f"make it {adjective}", f"{adjective} weather", f"add {noun_}", f"in the {noun_}", f"make it a {adjective} day", f"{noun_}"])
        case "season":
            s = pick([to, "fall"]) if to == "autumn" else to
            return pick([f"make it {s}", f"turn it into {s}", f"in {s}", f"make it look like {s}", f"change the season to {s}"])
        case "style":
            name = pick(_STYLE_NAMES[to])
            return pick([f"make it a {name}", f"turn it into a {name}", f"in the style of a {name}", f"make it look like a {name}", name, f"like a {name}"])
        case _:
            return pick(_ADJUST_WORDS[to])


def words_of(sentence: str) -> list[str]:
    """Lower-case words of a sentence, without punctuation."""
    return re.findall(r"[a-z]+", sentence.lower())


def vocabulary() -> tuple[str, ...]:
    """Every word that a sentence of the grammar may hold, in a fixed order."""
    words: set[str] = set(_HOLDING.split()) | set(SYNONYMS) | set(COLORS) | set(MATERIALS) | set(NOUNS) | set(PLACES) | set(TIMES) | set(WEATHERS) | set(SEASONS)
    for lists in (_STYLE_NAMES, _TIME_WORDS, _ADJUST_WORDS, _ADJECTIVES):
        words |= {w for names in lists.values() for name in names for w in words_of(name)}
    words |= {w for names in _WEATHER_WORDS.values() for part in names for w in part}
    return tuple(sorted(w for w in words if w.isalpha()))


def content_words() -> frozenset[str]:
    """Words that mean an edit or what is edited; the others only hold sentences together."""
    style = {w for names in _STYLE_NAMES.values() for name in names for w in words_of(name)} - {"a", "and", "drawing", "painting", "photo", "old", "scene", "city", "light", "film", "book", "art", "poster", "van"}
    adjust = {"brighter", "brighten", "lighter", "darker", "darken", "dark", "contrast", "contrasty", "softer", "colorful", "saturated", "saturation", "vivid", "muted", "faded", "dull",
              "warmer", "warm", "cooler", "colder", "cold", "cool", "invert", "negative", "tint", "light"}  # fmt: skip
    seasons = {w for w in SYNONYMS if SYNONYMS[w] in SEASONS}
    told = {w for pair in _WEATHER_WORDS.values() for part in pair for w in part} | {w for names in _TIME_WORDS.values() for name in names for w in words_of(name)}
    return frozenset((style | adjust | seasons | told | set(COLORS) | set(MATERIALS) | set(SEASONS) | {w for w in SYNONYMS if SYNONYMS[w] in COLORS or SYNONYMS[w] in MATERIALS}) - {"hour"})
