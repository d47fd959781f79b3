"""Defences by name, as the command line and suites ask for them."""

from dataclasses import dataclass, replace
from typing import Any

from attacks.defences.consistency import Consistent, Trimmed
from attacks.defences.inputs import FILTERS, filtered
from attacks.defences.smoothing import Smoothed
from attacks.victims.general import GeneralVictim
from data.errors import InputError
from recon.general.engine import GeneralModel
from recon.general.weights import ROBUST


@dataclass(frozen=True)
class Defence:
    """One defence, and what it changes about a case."""

    name: str
    what: str
    """One line for reports."""
    more_sources: int = 1
    """Factor on the number of source photos."""

    def guard(self, victim: Any) -> Any:
        """The defended victim.

        Raises:
            InputError: this defence is not for this victim.
        """
        if self.name == "none":
            return victim
        if self.name in FILTERS:
            return filtered(victim, self.name)
        if self.name == "smoothing":
            return Smoothed(victim)
        if not isinstance(victim, GeneralVictim):
            raise InputError(f"The defence '{self.name}' works inside the general engine; '{victim.name}' is not one. Choose none, smoothing, or a filter.")
        if self.name == "robust-weights":
            model = GeneralModel.from_pretrained(ROBUST, victim.device, victim.model.options)
            return GeneralVictim(model, f"{victim.name}+robust-weights", ROBUST, victim.refreshed)
        if self.name == "trimmed":
            return Trimmed(victim)
        if self.name == "depth-filter":
            return Consistent(victim)
        options = replace(victim.model.options, sources=self.more_sources * victim.model.options.sources)
        return GeneralVictim(GeneralModel(victim.model.network, options), f"{victim.name}+more-views", victim.weights, victim.refreshed)


DEFENCES = {
    d.name: d
    for d in (
        Defence("none", "the model as it is"),
        Defence("more-views", "twice as many source photos, all of them attacked", 2),
        Defence("blur", "photos blurred by one pixel"), Defence("median", "3 x 3 median of the photos"),
        Defence("bits", "photos of 5 bits a value"), Defence("jpeg", "photos as JPEG of quality 75"),
        Defence("trimmed", "views speak at a sample only if their surface is near the median"),
        Defence("depth-filter", "surface that no other view confirms is distrusted, views of such surfaces dropped"),
        Defence("robust-weights", "weights trained adversarially (general-robust)"),
        Defence("smoothing", "median over photos with Gaussian noise of 8/255"),
    )
}  # fmt: skip


def defence_by_name(name: str) -> Defence:
    """A defence.

    Raises:
        InputError: there is none of that name.
    """
    if name not in DEFENCES:
        raise InputError(f"There is no defence '{name}'. Known: {', '.join(DEFENCES)}.")
    return DEFENCES[name]
