"""The subjects: three styles in which sets of icons draw the nouns that the base knows, and three unseen objects."""

from dataclasses import dataclass

from recipes.pocket.scenes import COLOURS


@dataclass(frozen=True)
class StyleSubject:
    """A set of icons in a style of its own. package: of the npm registry, with its version. skip: icons that show
    something else than the base's icons of that name. colours: backgrounds on which the style can be seen."""

    name: str
    keyword: str
    package: str
    version: str
    skip: tuple[str, ...] = ()
    colours: tuple[str, ...] = tuple(COLOURS)


@dataclass(frozen=True)
class ObjectSubject:
    """An object of nouns.toml's `held_out`, as every known style draws it. class_word: the nearest noun that the base
    knows. own: colours of its own, on which it would not be seen."""

    name: str
    keyword: str
    class_word: str
    own: tuple[str, ...]

    @property
    def colours(self) -> tuple[str, ...]:
        return tuple(colour for colour in COLOURS if colour not in self.own)


# Keywords: proposals of limner.data.caption, but for "fxm", which the sample images have too.
STYLES = (
    StyleSubject("fxemoji", "fxm", "fxemoji", "1.2.2", skip=("sunglasses",)),
    StyleSubject("outlined", "wqzr", "streamline-emojis", "1.2.4", skip=("maple-leaf", "tent", "rainbow", "headphone")),
    StyleSubject(
        "stencil",
        "vjqx",
        "fluent-emoji-high-contrast",
        "1.2.6",
        colours=("white", "orange", "yellow", "green", "pink", "teal"),  # it is black, and has holes
    ),
)
OBJECTS = (
    ObjectSubject("panda", "jvql", "bear", own=("gray",)),
    ObjectSubject("cactus", "gfvx", "tree", own=("green",)),
    ObjectSubject("helicopter", "kzdq", "airplane", own=("yellow", "orange")),
)
