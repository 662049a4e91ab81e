"""Names that others chose, made harmless to show."""


def plain(text: str) -> str:
    """On one line and without control characters, so that a name cannot drive a terminal or break a table."""
    return "".join(character if character.isprintable() else "?" for character in text)
