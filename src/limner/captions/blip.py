"""BLIP (Li et al. 2022, 2201.12086), BLIP-2 (2301.12597) and GIT (2205.14100): a short sentence."""

from limner.captions.sentences import Sentences


class Blip(Sentences):
    """They need no prompt: their decoders begin a caption by themselves."""

    families = ("blip", "blip-2", "git")
    usual = "Salesforce/blip-image-captioning-base"

    def prompt(self) -> None:
        return None
