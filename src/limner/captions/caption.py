"""The caption of a picture: what stands beside it, what a captioner says, and the keyword in its place."""

import copy
from dataclasses import dataclass
from typing import Self

from PIL import Image

from limner.captions.captioner import Captioner, Model, open_captioner
from limner.captions.tags import join, prune, split, subject_names
from limner.checking.facts import Facts
from limner.config.captions import Captioning
from limner.data.caption import fill, place, says
from limner.data.templates import choose
from limner.errors import UserError


@dataclass(frozen=True)
class Caption:
    """A picture's text, on one line. source: "own" if a person gave it, else the captioner's name, or "template"."""

    text: str
    source: str


class Captions:
    """Makes the captions of pictures, each by itself: it depends on nothing but the picture and the settings."""

    def __init__(self, settings: Captioning) -> None:
        """Raises UserError for a template that will not do, and for a captioner or model that cannot be opened."""
        self.settings = settings
        self._subject("", frozenset())
        self._captioner: Captioner | None = None
        if settings.captioner is not None:
            model = Model(settings.caption_model, settings.download_model, settings.device)
            self._captioner = open_captioner(settings.captioner, model, settings.captioner_set)
        elif settings.caption_model is not None or settings.captioner_set:
            raise UserError("there is a caption_model, but no captioner for it; give --captioner, or leave it out")
        self._pruned = split(settings.prune)

    def about(self, keyword: str, class_word: str) -> Self:
        """The same for another subject, with the same captioner."""
        other = copy.copy(self)
        other.settings = self.settings.model_copy(update={"keyword": keyword, "class_word": class_word})
        return other

    @property
    def in_workers(self) -> bool:
        """Whether this may be pickled and used in worker processes; if not, one picture at a time in the main one."""
        return self._captioner is None or self._captioner.in_workers

    @property
    def looks(self) -> bool:
        """Whether there is a captioner, which looks at pictures."""
        return self._captioner is not None

    def needs_pixels(self, own: str | None) -> bool:
        """Whether the picture itself is looked at, given what stands beside it; if not, any image will do."""
        return self._captioner is not None and not self._is_kept(own)

    def caption(self, image: Image.Image | None, facts: Facts, own: str | None) -> Caption:
        """The caption of a picture. image: upright sRGB of mode "RGB"; None will do where `needs_pixels` says so.

        own: what a person wrote for it, None for nothing. Raises UserError if the captioner fails.
        """
        settings = self.settings
        own = " ".join(own.split()) if own else ""
        if self._is_kept(own):
            text = prune(own, self._pruned, settings.keyword)
            where = settings.keyword_place or "front"
            return Caption(place(text, settings.keyword, where, settings.class_word), "own")
        if self._captioner is None:
            return Caption(self._subject(facts.sha256, frozenset())[0], "template")
        assert image is not None
        said = self._captioner.describe(image, facts)
        if settings.own_captions == "extend" and own:
            text = prune(join([*split(own), *self._wanted(said)]), self._pruned, settings.keyword)
            where = settings.keyword_place or "front"
            return Caption(place(text, settings.keyword, where, settings.class_word), "own")
        make = self._of_tags if self._captioner.gives_tags else self._of_sentence
        return Caption(make(said, facts.sha256), str(settings.captioner))

    def _is_kept(self, own: str | None) -> bool:
        if not own:
            return False
        return self.settings.own_captions == "keep" or (
            self.settings.own_captions == "extend" and self._captioner is None
        )

    def _subject(self, sha256: str, known: frozenset[str]) -> tuple[str, frozenset[str]]:
        """The filled template, and which of what is known of the picture it says."""
        settings = self.settings
        template = choose(settings.template, sha256, settings.keyword, settings.class_word, known)
        claims = frozenset(claim for claim in known if claim in template)
        text = fill(template, settings.keyword, settings.class_word)
        return place(text, settings.keyword, settings.keyword_place or "front", settings.class_word), claims

    def _wanted(self, tags: list[str]) -> list[str]:
        """Without those that say no more than the keyword is to mean."""
        unwanted = {tag.lower() for tag in self._pruned} | subject_names(self.settings.class_word)
        return [tag for tag in tags if tag.lower() not in unwanted]

    def _of_tags(self, tags: list[str], sha256: str) -> str:
        tags = self._wanted(tags)
        subject, said = self._subject(sha256, frozenset(tags))
        tags = [tag for tag in tags if tag not in said]
        parts = [*tags, subject] if self.settings.keyword_place == "back" else [subject, *tags]
        return join(part for part in parts if part)

    def _of_sentence(self, said: list[str], sha256: str) -> str:
        """The keyword before the first word for the class in it, unless another place is wanted; where there is none,
        the filled template in front."""
        settings = self.settings
        sentence = " ".join(" ".join(said).split())
        where = settings.keyword_place or "class"
        words = [settings.class_word, *sorted(subject_names(settings.class_word))]
        found = next((word for word in words if word and says(sentence, word)), None)
        if where == "class" and found is not None:
            return place(sentence, settings.keyword, where, found)
        parts = [sentence, self._subject(sha256, frozenset())[0]]
        return ", ".join(part for part in (parts if where == "back" else reversed(parts)) if part)
